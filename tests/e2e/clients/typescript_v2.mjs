// The client of npm `@modelcontextprotocol/client` 2.x, told to find the era by itself.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

import { run, textOf, wrap } from './driver.mjs';

await run(async (to) => {
  const [command, ...args] = to.command ?? [];
  const transport = to.url
    ? new StreamableHTTPClientTransport(new URL(to.url))
    : to.sse
      ? new SSEClientTransport(new URL(to.sse))
      : new StdioClientTransport({ command, args, env: to.env, stderr: 'inherit' });
  const options = { capabilities: {}, versionNegotiation: { mode: to.mode ?? 'auto' } };
  const client = new Client({ name: 'typescript-v2', version: '1.0.0' }, options);
  await client.connect(transport);
  return {
    ...wrap(client, client.getNegotiatedProtocolVersion?.() ?? null, () => client.close()),
    call: async (name, args, options) => {
      const result = await client.callTool({ name, arguments: args }, options);
      return { isError: result.isError === true, text: textOf(result.content) };
    },
  };
});
