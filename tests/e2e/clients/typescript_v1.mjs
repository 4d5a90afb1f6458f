// The client of npm `@modelcontextprotocol/sdk` 1.x: legacy only.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { run, textOf, wrap } from './driver.mjs';

await run(async (to) => {
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
  const client = new Client({ name: 'typescript-v1', version: '1.0.0' }, { capabilities: {} });
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
  };
});
