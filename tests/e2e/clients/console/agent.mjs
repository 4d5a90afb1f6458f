// An agent: the official client library before the gateway.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

/** Connects an agent by its key. */
export async function agent(gateway, key, name = 'agent') {
  const headers = { Authorization: `Bearer ${key}` };
  const transport = new StreamableHTTPClientTransport(new URL(`${gateway}/mcp`), { requestInit: { headers } });
  const client = new Client({ name, version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(transport);
  return client;
}

/** What becomes of a call, whether it is answered or refused. */
export async function called(client, name, args) {
  try {
    const result = await client.callTool({ name, arguments: args });
    return { ok: result.isError !== true, text: JSON.stringify(result.content) };
  } catch (error) {
    return { ok: false, text: `${error.message} ${JSON.stringify(error.data ?? null)}` };
  }
}
