// A small modern server on npm `@modelcontextprotocol/server` 2.x. `stdio` and `http` choose how it is reached; over
// HTTP it prints its URL as one line of JSON.

import { createServer } from 'node:http';

import { toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, completable, createMcpHandler } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const observed = { calls: 0, waiting: 0, cancelled: 0 };
const text = (said) => ({ content: [{ type: 'text', text: said }] });

async function report(ctx, progress) {
  const progressToken = ctx.mcpReq._meta?.progressToken;
  if (progressToken === undefined) return;
  await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 3 } });
}

function build() {
  const server = new McpServer({ name: 'typescript-modern', version: '1.0.0' });
  const greeting = { description: 'Greets', inputSchema: z.object({ who: z.string() }) };
  server.registerTool('greet', greeting, async ({ who }) => {
    observed.calls += 1;
    return text(`Hello, ${who}, from TypeScript`);
  });
  server.registerTool('fail', { description: 'Fails' }, async () => {
    throw new Error('this tool fails on purpose');
  });
  server.registerTool('slow', { description: 'Reports progress' }, async (ctx) => {
    for (const step of [1, 2, 3]) {
      await report(ctx, step);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return text('three steps done');
  });
  server.registerTool('wait', { description: 'Answers only when cancelled' }, async (ctx) => {
    observed.waiting += 1;
    const cancelled = new Promise((resolve) => ctx.mcpReq.signal.addEventListener('abort', resolve));
    await report(ctx, 1);
    await cancelled;
    observed.waiting -= 1;
    observed.cancelled += 1;
    return text('cancelled');
  });
  server.registerTool('observations', { description: 'What happened' }, async () => text(JSON.stringify(observed)));
  server.registerResource('greeting', 'note://greeting', { mimeType: 'text/plain' }, async (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'A greeting in a note' }],
  }));
  const people = ['ada', 'alan', 'grace'];
  const who = completable(z.string(), (value) => people.filter((name) => name.startsWith(value)));
  server.registerPrompt('introduce', { description: 'Introduces', argsSchema: z.object({ who }) }, ({ who }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Introduce yourself to ${who}` } }],
  }));
  return server;
}

if (process.argv[2] === 'stdio') {
  serveStdio(build, { legacy: 'reject' });
} else {
  const http = createServer(toNodeHandler(createMcpHandler(build)));
  http.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ url: `http://127.0.0.1:${http.address().port}/mcp` }));
  });
}
