// The client of npm `@modelcontextprotocol/sdk` 1.x: legacy only.

import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as types from '@modelcontextprotocol/sdk/types.js';

import { NOTED, capabilitiesOf, prepared, run, textOf, wrap } from './driver.mjs';
import { accountOf, authorized } from './oauth.mjs';

const REQUESTS = {
  elicitation: types.ElicitRequestSchema,
  sampling: types.CreateMessageRequestSchema,
  roots: types.ListRootsRequestSchema,
};
const NOTIFICATIONS = [
  types.LoggingMessageNotificationSchema,
  types.ResourceUpdatedNotificationSchema,
  types.ToolListChangedNotificationSchema,
  types.PromptListChangedNotificationSchema,
  types.ResourceListChangedNotificationSchema,
  types.ElicitationCompleteNotificationSchema,
];

/** Runs a tool as a task: what the stream of the task said, and its result. */
async function asTask(client, params, ttl) {
  const said = [];
  let result;
  for await (const message of client.experimental.tasks.callToolStream(params, undefined, { task: { ttl } })) {
    said.push(message.type === 'taskCreated' || message.type === 'taskStatus' ? message.task : message.type);
    if (message.type === 'result') result = message.result;
    if (message.type === 'error') throw message.error;
  }
  return { ...result, said };
}

/** A connection that was tried, and what a test wants of it. */
class Connection {
  constructor(to, heard, authProvider) {
    const [command, ...args] = to.command ?? [];
    const http = { authProvider, requestInit: { headers: to.headers ?? {} } };
    this.transport = to.url
      ? new StreamableHTTPClientTransport(new URL(to.url), http)
      : to.sse
        ? new SSEClientTransport(new URL(to.sse), http)
        : new StdioClientTransport({ command, args, env: to.env, stderr: 'inherit' });
    this.protocol = null;
    const { transport } = this;
    const { setProtocolVersion } = transport;
    transport.setProtocolVersion = (version) => {
      this.protocol = version;
      setProtocolVersion?.call(transport, version);
    };
    // The library does not say when a cancellation has gone out, and a session that ends first would swallow it.
    this.sending = new Set();
    const send = transport.send.bind(transport);
    transport.send = (...args) => {
      const sent = send(...args).finally(() => this.sending.delete(sent));
      this.sending.add(sent);
      return sent;
    };
    const capabilities = capabilitiesOf(to.answers);
    this.client = new Client({ name: 'typescript-v1', version: '1.0.0' }, { capabilities });
    for (const [capability, schema] of Object.entries(REQUESTS)) {
      if (capabilities[capability]) this.client.setRequestHandler(schema, (request) => prepared(to.answers, heard, request));
    }
    for (const schema of NOTIFICATIONS) {
      this.client.setNotificationHandler(schema, ({ method, params }) => NOTED[method](heard, params));
    }
  }

  async close() {
    await Promise.allSettled(this.sending);
    if (this.transport.terminateSession) await this.transport.terminateSession();
    await this.client.close();
  }
}

await run(async (to, heard) => {
  const account = accountOf(to.oauth, ClientCredentialsProvider);
  let connection;
  const finish = (back) => connection.transport.finishAuth(back.get('code'));
  await authorized(account, finish, () => {
    connection = new Connection(to, heard, account);
    return connection.client.connect(connection.transport);
  });
  const { client, protocol } = connection;
  const callTool = (...args) => authorized(account, finish, () => client.callTool(...args));
  return {
    ...wrap(client, protocol, () => connection.close()),
    oauth: () => account?.seen?.(),
    call: async (name, args, options) => {
      const result = await callTool({ name, arguments: args }, undefined, options);
      return { isError: result.isError === true, text: textOf(result.content) };
    },
    result: ({ name, arguments: args, task, ttl = 60_000, progress }, onprogress) => {
      const params = { name, arguments: args };
      if (task) return asTask(client, params, ttl);
      return callTool(params, undefined, progress ? { onprogress } : {});
    },
  };
});
