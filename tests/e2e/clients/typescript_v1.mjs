// The client of npm `@modelcontextprotocol/sdk` 1.x: legacy only.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as types from '@modelcontextprotocol/sdk/types.js';

import { NOTED, capabilitiesOf, prepared, run, textOf, wrap } from './driver.mjs';

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

await run(async (to, heard) => {
  const [command, ...args] = to.command ?? [];
  const transport = to.url
    ? new StreamableHTTPClientTransport(new URL(to.url))
    : to.sse
      ? new SSEClientTransport(new URL(to.sse))
      : new StdioClientTransport({ command, args, env: to.env, stderr: 'inherit' });
  let protocol = null;
  const { setProtocolVersion } = transport;
  transport.setProtocolVersion = (version) => {
    protocol = version;
    setProtocolVersion?.call(transport, version);
  };
  // The library does not say when a cancellation has gone out, and a session that ends first would swallow it.
  const sending = new Set();
  const send = transport.send.bind(transport);
  transport.send = (...args) => {
    const sent = send(...args).finally(() => sending.delete(sent));
    sending.add(sent);
    return sent;
  };
  const capabilities = capabilitiesOf(to.answers);
  const client = new Client({ name: 'typescript-v1', version: '1.0.0' }, { capabilities });
  for (const [capability, schema] of Object.entries(REQUESTS)) {
    if (capabilities[capability]) client.setRequestHandler(schema, (request) => prepared(to.answers, heard, request));
  }
  for (const schema of NOTIFICATIONS) {
    client.setNotificationHandler(schema, ({ method, params }) => NOTED[method](heard, params));
  }
  await client.connect(transport);
  const close = async () => {
    await Promise.allSettled(sending);
    if (transport.terminateSession) await transport.terminateSession();
    await client.close();
  };
  return {
    ...wrap(client, protocol, close),
    call: async (name, args, options) => {
      const result = await client.callTool({ name, arguments: args }, undefined, options);
      return { isError: result.isError === true, text: textOf(result.content) };
    },
    result: ({ name, arguments: args, task, ttl = 60_000, progress }, onprogress) => {
      const params = { name, arguments: args };
      if (task) return asTask(client, params, ttl);
      return client.callTool(params, undefined, progress ? { onprogress } : {});
    },
  };
});
