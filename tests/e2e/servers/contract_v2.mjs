// A modern server on npm `@modelcontextprotocol/server` 2.x that offers one of everything a modern server can; the
// contract is that of contract_v1.mjs. `stdio` and `http` choose how it is reached; over HTTP it prints its URL as one
// line of JSON.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { toNodeHandler } from '@modelcontextprotocol/node';
import { ProtocolError, Server, createMcpHandler, inputRequired } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

import {
  APP,
  APP_URI,
  COMPLETIONS,
  CONTENTS,
  FORM,
  LEVELS,
  NOTE_URI,
  PROMPTS,
  RESOURCES,
  SAMPLING_TOOLS,
  TEMPLATES,
  definitions,
  text,
} from './contract.mjs';

const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';
const CLIENT_CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';
const TASKS = 'io.modelcontextprotocol/tasks';
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What happened since the process started.
const observed = { calls: 0, waiting: 0, cancelled: [], mirrored: [] };
let grown = 0;
/** Tells the open subscriptions, whichever way the server is reached. */
let tell;

/** Asks for one thing, or says what came of it. */
function ask(ctx, request, then) {
  const answer = ctx.mcpReq.inputResponses?.asked;
  if (answer === undefined) return inputRequired({ inputRequests: { asked: request } });
  return then ? then(answer) : text(JSON.stringify(answer));
}

const form = (message) => inputRequired.elicit({ message, requestedSchema: FORM });

function build() {
  const capabilities = {
    tools: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    prompts: { listChanged: true },
    completions: {},
    logging: {},
    extensions: { [TASKS]: {} },
  };
  const cacheHints = {
    'tools/list': { ttlMs: 60_000, cacheScope: 'public' },
    'prompts/list': { ttlMs: 5000, cacheScope: 'private' },
    'resources/list': { ttlMs: 30_000, cacheScope: 'public' },
    'resources/read': { ttlMs: 20_000, cacheScope: 'public' },
  };
  const server = new Server({ name: 'typescript-modern', version: '1.0.0' }, { capabilities, cacheHints });
  server.setRequestHandler('tools/list', ({ params }) => {
    const all = definitions({ legacy: false, grown });
    const from = Number(params?.cursor ?? 0);
    if (!(from < all.length)) throw new ProtocolError(-32602, 'no such cursor');
    const more = from + 5 < all.length ? { nextCursor: String(from + 5) } : {};
    return { tools: all.slice(from, from + 5), ...more };
  });
  server.setRequestHandler('tools/call', ({ params }, ctx) => call(params, ctx));
  server.setRequestHandler('resources/list', () => ({ resources: RESOURCES }));
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: TEMPLATES }));
  server.setRequestHandler('resources/read', ({ params: { uri } }) => {
    if (uri === APP_URI) return { contents: [APP] };
    const who = uri.startsWith('note://people/') ? uri.slice('note://people/'.length) : undefined;
    if (who) return { contents: [{ uri, mimeType: 'text/plain', text: `A note on ${who}` }] };
    if (uri !== NOTE_URI) throw new ProtocolError(-32602, 'Resource not found', { uri });
    return { contents: [{ uri, mimeType: 'text/plain', text: 'A greeting in a note' }] };
  });
  server.setRequestHandler('prompts/list', () => ({ prompts: PROMPTS }));
  server.setRequestHandler('prompts/get', ({ params }, ctx) => {
    const said = (who) => ({
      messages: [{ role: 'user', content: { type: 'text', text: `Introduce yourself to ${who}` } }],
    });
    if (params.name !== 'ask_in_prompt') return said(params.arguments?.who);
    return ask(ctx, form('Who is it?'), (answer) => said(answer.content?.name));
  });
  server.setRequestHandler('completion/complete', ({ params }) => {
    const values = COMPLETIONS.filter((name) => name.startsWith(params.argument.value));
    const context = params.context?.arguments?.team;
    return { completion: { values: context ? values.map((name) => `${name} of ${context}`) : values } };
  });
  // The library leaves tasks to others.
  const ofTask = { params: z.looseObject({ taskId: z.string() }), result: z.looseObject({}) };
  server.setRequestHandler('tasks/get', ofTask, ({ taskId }) => known(taskId).state);
  server.setRequestHandler('tasks/update', ofTask, ({ taskId }, ctx) => {
    known(taskId).answered(ctx.mcpReq.inputResponses?.asked);
    return {};
  });
  server.setRequestHandler('tasks/cancel', ofTask, ({ taskId }) => {
    known(taskId).end({ status: 'cancelled' });
    return {};
  });
  if (process.argv[2] === 'stdio') {
    tell = {
      resourceUpdated: (uri) => server.sendResourceUpdated({ uri }),
      toolsChanged: () => server.sendToolListChanged(),
      promptsChanged: () => server.sendPromptListChanged(),
      resourcesChanged: () => server.sendResourceListChanged(),
    };
  }
  return server;
}

const tasks = new Map();

function known(taskId) {
  const task = tasks.get(taskId);
  if (!task) throw new ProtocolError(-32602, 'Unknown task');
  return task;
}

/** A tool call that goes on after its answer. */
class Task {
  constructor(message) {
    const now = new Date().toISOString();
    const { id } = Object.assign(this, { id: randomUUID() });
    this.state = { taskId: id, status: 'working', createdAt: now, lastUpdatedAt: now, ttlMs: 60_000, pollIntervalMs: 50 };
    this.made = { resultType: 'task', ...this.state };
    tasks.set(id, this);
    if (message === undefined) setTimeout(() => this.end({ status: 'completed', result: text('the task is done') }), 100);
    else this.change({ status: 'input_required', inputRequests: { asked: form(message) } });
  }

  change(members) {
    const { inputRequests: _, ...rest } = this.state;
    this.state = { ...rest, ...members, lastUpdatedAt: new Date().toISOString() };
  }

  answered(answer) {
    if (answer) this.end({ status: 'completed', result: text(JSON.stringify(answer)) });
  }

  end(members) {
    if (!['completed', 'cancelled', 'failed'].includes(this.state.status)) this.change(members);
  }
}

async function call({ name, arguments: args = {} }, ctx) {
  observed.calls += 1;
  const report = async (progress) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    if (progressToken === undefined) return;
    await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 3 } });
  };
  switch (name) {
    case 'echo':
      return { ...text(`Echo: ${args.message}`), structuredContent: { message: args.message } };
    case 'fail':
      return { ...text('this tool fails on purpose'), isError: true };
    case 'slow':
      for (const step of [1, 2, 3]) {
        await report(step);
        // Libraries forget what they read together with the answer.
        await sleep(200);
      }
      return text('three steps done');
    case 'wait':
      observed.waiting += 1;
      await Promise.all([new Promise((resolve) => ctx.mcpReq.signal.addEventListener('abort', resolve)), report(1)]);
      observed.waiting -= 1;
      observed.cancelled.push(args.key);
      return text('cancelled');
    case 'observations':
      return text(JSON.stringify(observed));
    case 'contents':
      return CONTENTS;
    case 'mirrored':
      observed.mirrored.push(ctx.http?.req?.headers.get('mcp-param-region') ?? null);
      return text(`In ${args.place?.region}`);
    case 'view':
      return text('viewed');
    case 'log': {
      const wanted = ctx.mcpReq.envelope?.[LOG_LEVEL];
      const from = wanted === undefined ? LEVELS.length : LEVELS.indexOf(wanted);
      for (const level of LEVELS.slice(from)) {
        const params = { level, logger: 'contract', data: `said at ${level}` };
        await ctx.mcpReq.notify({ method: 'notifications/message', params });
      }
      return text('logged');
    }
    case 'touch':
      await tell.resourceUpdated(args.uri);
      return text('touched');
    case 'grow':
      grown += 1;
      await Promise.all([tell.toolsChanged(), tell.promptsChanged(), tell.resourcesChanged()]);
      return text(`grown_${grown}`);
    case 'job':
    case 'ask_job':
      if (!ctx.mcpReq.envelope?.[CLIENT_CAPABILITIES]?.extensions?.[TASKS]) return text('done without a task');
      return new Task(name === 'ask_job' ? args.message : undefined).made;
    case 'ask_form':
      return ask(ctx, form(args.message));
    case 'ask_twice': {
      // The answer of the first round stands in the state of the second.
      const answers = JSON.parse(ctx.mcpReq.requestState() ?? '[]');
      const answer = ctx.mcpReq.inputResponses?.asked;
      if (answer !== undefined) answers.push(answer);
      if (answers.length === 2) return text(JSON.stringify(answers));
      const question = answers.length === 0 ? 'What is your name?' : `Who knows ${answers[0].content?.name}?`;
      return inputRequired({ inputRequests: { asked: form(question) }, requestState: JSON.stringify(answers) });
    }
    case 'ask_url':
      return ask(ctx, inputRequired.elicitUrl({ message: args.message, url: 'https://example.com/consent' }));
    case 'ask_model': {
      const messages = [{ role: 'user', content: { type: 'text', text: args.message } }];
      return ask(ctx, inputRequired.createMessage({ messages, maxTokens: 64 }));
    }
    case 'ask_model_with_tools': {
      const messages = [{ role: 'user', content: { type: 'text', text: args.message } }];
      return ask(ctx, inputRequired.createMessage({ messages, maxTokens: 64, tools: SAMPLING_TOOLS, toolChoice: { mode: 'auto' } }));
    }
    case 'ask_roots':
      return ask(ctx, inputRequired.listRoots());
    default:
      if (name.startsWith('grown_')) return text(name);
      throw new ProtocolError(-32602, `Unknown tool: ${name}`);
  }
}

if (process.argv[2] === 'stdio') {
  serveStdio(build, { legacy: 'reject' });
} else {
  const handler = createMcpHandler(build, { legacy: 'reject' });
  tell = handler.notify;
  const http = createServer(toNodeHandler(handler));
  http.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ url: `http://127.0.0.1:${http.address().port}/mcp` }));
  });
}
