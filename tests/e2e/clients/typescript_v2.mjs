// The client of npm `@modelcontextprotocol/client` 2.x, told to find the era by itself.

import { Client, ClientCredentialsProvider, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

import { NOTED, capabilitiesOf, prepared, run, textOf, wrap } from './driver.mjs';
import { accountOf, authorized } from './oauth.mjs';

const REQUESTS = {
  elicitation: 'elicitation/create',
  sampling: 'sampling/createMessage',
  roots: 'roots/list',
};

const LISTS = {
  tools: 'tools/list',
  resources: 'resources/list',
  templates: 'resources/templates/list',
  prompts: 'prompts/list',
};

function connection(to, heard, authProvider) {
  const [command, ...args] = to.command ?? [];
  const http = { authProvider, requestInit: { headers: to.headers ?? {} } };
  const transport = to.url
    ? new StreamableHTTPClientTransport(new URL(to.url), http)
    : to.sse
      ? new SSEClientTransport(new URL(to.sse), http)
      : new StdioClientTransport({ command, args, env: to.env, stderr: 'inherit' });
  const capabilities = capabilitiesOf(to.answers);
  const options = { capabilities, versionNegotiation: { mode: to.mode ?? 'auto' } };
  const client = new Client({ name: 'typescript-v2', version: '1.0.0' }, options);
  for (const [capability, method] of Object.entries(REQUESTS)) {
    if (capabilities[capability]) client.setRequestHandler(method, (request) => prepared(to.answers, heard, request));
  }
  for (const [method, note] of Object.entries(NOTED)) {
    client.setNotificationHandler(method, ({ params }) => note(heard, params));
  }
  return { client, transport };
}

await run(async (to, heard) => {
  const account = accountOf(to.oauth, ClientCredentialsProvider);
  let client;
  let transport;
  // All that came back, so that the library can see who it came from (RFC 9207).
  const finish = (back) => transport.finishAuth(back);
  await authorized(account, finish, () => {
    ({ client, transport } = connection(to, heard, account));
    return client.connect(transport);
  });
  const callTool = (...args) => authorized(account, finish, () => client.callTool(...args));
  const wrapped = wrap(client, client.getNegotiatedProtocolVersion?.() ?? null, () => client.close());
  return {
    ...wrapped,
    oauth: () => account?.seen?.(),
    // The library's own lists always walk all pages.
    page: ({ list, cursor }) => client.request({ method: LISTS[list], params: cursor === undefined ? {} : { cursor } }),
    call: async (name, args, options) => {
      const result = await callTool({ name, arguments: args }, options);
      return { isError: result.isError === true, text: textOf(result.content) };
    },
    result: ({ name, arguments: args, task, progress }, onprogress) => {
      if (task) throw new Error('this client has no tasks');
      return callTool({ name, arguments: args, ...wrapped.meta() }, progress ? { onprogress } : {});
    },
  };
});
