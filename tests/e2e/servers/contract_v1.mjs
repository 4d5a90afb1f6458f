// A legacy server on npm `@modelcontextprotocol/sdk` 1.x that offers one of everything a legacy server can: it asks its
// client, logs, tells of changes, runs tasks and keeps something per conversation. `stdio`, `http` and `sse` choose how
// it is reached; over HTTP it prints its URL as one line of JSON. What each tool does is the contract of the test
// `features` (tests/e2e/src/features), which a modern server fulfils too.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { InMemoryTaskMessageQueue, InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import * as types from '@modelcontextprotocol/sdk/types.js';

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

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What happened since the process started, over all conversations.
const observed = { calls: 0, waiting: 0, cancelled: [], subscribed: 0, unsubscribed: 0, levels: [], alone: [] };
let grown = 0;
/** Every open conversation. */
const conversations = new Set();

class Conversation {
  constructor() {
    this.count = 0;
    this.level = 0;
    this.watched = new Set();
    this.tasks = new InMemoryTaskStore();
    const capabilities = {
      tools: { listChanged: true },
      resources: { subscribe: true, listChanged: true },
      prompts: { listChanged: true },
      completions: {},
      logging: {},
      tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
    };
    const options = { capabilities, taskStore: this.tasks, taskMessageQueue: new InMemoryTaskMessageQueue() };
    this.server = new Server({ name: 'typescript-legacy', version: '1.0.0' }, options);
    this.offer();
    this.server.onclose = () => conversations.delete(this);
    conversations.add(this);
  }

  offer() {
    const { server } = this;
    const handle = (schema, handler) => server.setRequestHandler(schema, handler);
    handle(types.ListToolsRequestSchema, ({ params }) => {
      const all = definitions({ legacy: true, grown });
      const from = Number(params?.cursor ?? 0);
      if (!(from < all.length)) throw new types.McpError(types.ErrorCode.InvalidParams, 'no such cursor');
      const more = from + 5 < all.length ? { nextCursor: String(from + 5) } : {};
      return { tools: all.slice(from, from + 5), ...more };
    });
    handle(types.CallToolRequestSchema, ({ params }, extra) => this.call(params, extra));
    handle(types.ListResourcesRequestSchema, () => ({ resources: RESOURCES }));
    handle(types.ListResourceTemplatesRequestSchema, () => ({ resourceTemplates: TEMPLATES }));
    handle(types.ReadResourceRequestSchema, ({ params: { uri } }) => {
      if (uri === APP_URI) return { contents: [APP] };
      const who = uri.startsWith('note://people/') ? uri.slice('note://people/'.length) : undefined;
      if (who) return { contents: [{ uri, mimeType: 'text/plain', text: `A note on ${who}` }] };
    if (uri !== NOTE_URI) throw new types.McpError(-32002, 'Resource not found', { uri });
      return { contents: [{ uri, mimeType: 'text/plain', text: 'A greeting in a note' }] };
    });
    handle(types.ListPromptsRequestSchema, () => ({ prompts: PROMPTS }));
    handle(types.GetPromptRequestSchema, async ({ params }, extra) => {
      let who = params.arguments?.who;
      if (params.name === 'ask_in_prompt') who = (await this.form('Who is it?', extra)).content?.name;
      return { messages: [{ role: 'user', content: { type: 'text', text: `Introduce yourself to ${who}` } }] };
    });
    handle(types.CompleteRequestSchema, ({ params }) => {
      const values = COMPLETIONS.filter((name) => name.startsWith(params.argument.value));
      const context = params.context?.arguments?.team;
      return { completion: { values: context ? values.map((name) => `${name} of ${context}`) : values } };
    });
    handle(types.SetLevelRequestSchema, ({ params: { level } }) => {
      observed.levels.push(level);
      this.level = LEVELS.indexOf(level);
      return {};
    });
    handle(types.SubscribeRequestSchema, ({ params: { uri } }) => {
      observed.subscribed += 1;
      this.watched.add(uri);
      return {};
    });
    handle(types.UnsubscribeRequestSchema, ({ params: { uri } }) => {
      observed.unsubscribed += 1;
      this.watched.delete(uri);
      return {};
    });
  }

  form(message, extra) {
    const params = { mode: 'form', message, requestedSchema: FORM };
    return extra.sendRequest({ method: 'elicitation/create', params }, types.ElicitResultSchema);
  }

  async call({ name, arguments: args = {}, task }, extra) {
    observed.calls += 1;
    const { server } = this;
    const report = async (progress) => {
      const progressToken = extra._meta?.progressToken;
      if (progressToken === undefined) return;
      const params = { progressToken, progress, total: 3 };
      await extra.sendNotification({ method: 'notifications/progress', params });
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
        await Promise.all([new Promise((resolve) => extra.signal.addEventListener('abort', resolve)), report(1)]);
        observed.waiting -= 1;
        observed.cancelled.push(args.key);
        return text('cancelled');
      case 'observations':
        return text(JSON.stringify(observed));
      case 'contents':
        return CONTENTS;
      case 'mirrored':
        return text(`In ${args.place?.region}`);
      case 'view':
        return text('viewed');
      case 'ping_client':
        await extra.sendRequest({ method: 'ping' }, types.EmptyResultSchema);
        return text('the client is there');
      case 'count':
        this.count += 1;
        return text(String(this.count));
      case 'log':
        for (const [place, level] of LEVELS.entries()) {
          const params = { level, logger: 'contract', data: `said at ${level}` };
          if (place >= this.level) await extra.sendNotification({ method: 'notifications/message', params });
        }
        return text('logged');
      case 'touch':
        for (const { watched, server: other } of conversations) {
          if (watched.has(args.uri)) await other.sendResourceUpdated({ uri: args.uri });
        }
        return text('touched');
      case 'grow':
        grown += 1;
        for (const { server: other } of conversations) {
          await Promise.all([
            other.sendToolListChanged(),
            other.sendPromptListChanged(),
            other.sendResourceListChanged(),
          ]);
        }
        return text(`grown_${grown}`);
      case 'ask_form':
        return text(JSON.stringify(await this.form(args.message, extra)));
      case 'ask_twice': {
        const first = await this.form('What is your name?', extra);
        const second = await this.form(`Who knows ${first.content?.name}?`, extra);
        return text(JSON.stringify([first, second]));
      }
      case 'ask_url': {
        const elicitationId = randomUUID();
        const params = { mode: 'url', message: args.message, url: 'https://example.com/consent', elicitationId };
        const answer = await extra.sendRequest({ method: 'elicitation/create', params }, types.ElicitResultSchema);
        const done = { method: 'notifications/elicitation/complete', params: { elicitationId } };
        await extra.sendNotification(done);
        return text(JSON.stringify(answer));
      }
      case 'ask_model': {
        const params = { messages: [{ role: 'user', content: { type: 'text', text: args.message } }], maxTokens: 64 };
        const request = { method: 'sampling/createMessage', params };
        return text(JSON.stringify(await extra.sendRequest(request, types.CreateMessageResultSchema)));
      }
      case 'ask_model_with_tools': {
        const messages = [{ role: 'user', content: { type: 'text', text: args.message } }];
        const params = { messages, maxTokens: 64, tools: SAMPLING_TOOLS, toolChoice: { mode: 'auto' } };
        const request = { method: 'sampling/createMessage', params };
        return text(JSON.stringify(await extra.sendRequest(request, types.CreateMessageResultWithToolsSchema)));
      }
      case 'ask_roots':
        return text(JSON.stringify(await extra.sendRequest({ method: 'roots/list' }, types.ListRootsResultSchema)));
      case 'ask_alone': {
        // Not a part of this call: the request goes to the client outside it, and what it came to can be asked for later.
        const params = { mode: 'form', message: args.message, requestedSchema: FORM };
        setTimeout(() => {
          server.request({ method: 'elicitation/create', params }, types.ElicitResultSchema, { timeout: 20_000 }).then(
            (answer) => observed.alone.push({ for: args.message, answer }),
            (error) => observed.alone.push({ for: args.message, error: { code: error.code, message: error.message } }),
          );
        }, 20);
        return text('asked');
      }
      case 'job':
      case 'ask_job':
        return this.job(name, args, task, extra);
      case 'cut':
        // The stream ends before the answer, which is kept for a client that comes back for it.
        extra.closeSSEStream?.();
        await sleep(50);
        return text('after the cut');
      default:
        if (name.startsWith('grown_')) return text(name);
        throw new types.McpError(types.ErrorCode.InvalidParams, `Unknown tool: ${name}`);
    }
  }

  /** Runs as a task where the client wants one. */
  async job(name, args, task, extra) {
    if (!task) return text('done without a task');
    const made = await extra.taskStore.createTask({ ttl: task.ttl ?? 60_000, pollInterval: 50 });
    const { taskId } = made;
    const work = async () => {
      let said = 'the task is done';
      if (name === 'ask_job') {
        await this.tasks.updateTaskStatus(taskId, 'input_required', undefined, extra.sessionId);
        const params = { mode: 'form', message: args.message, requestedSchema: FORM };
        const request = { method: 'elicitation/create', params };
        const answer = await this.server.request(request, types.ElicitResultSchema, { relatedTask: { taskId } });
        said = JSON.stringify(answer);
        await this.tasks.updateTaskStatus(taskId, 'working', undefined, extra.sessionId);
      } else {
        await sleep(args.ms ?? 100);
      }
      await this.tasks.storeTaskResult(taskId, 'completed', text(said), extra.sessionId);
    };
    work().catch(async (error) => {
      observed.alone.push({ for: taskId, error: { message: String(error) } });
      await this.tasks
        .storeTaskResult(taskId, 'failed', { ...text(String(error)), isError: true }, extra.sessionId)
        .catch(() => {});
    });
    return { task: made };
  }
}

/** Keeps what was sent, for a client that lost its stream. */
class Kept {
  events = [];

  async storeEvent(streamId, message) {
    this.events.push({ streamId, message });
    return String(this.events.length);
  }

  async getStreamIdForEventId(eventId) {
    return this.events[Number(eventId) - 1]?.streamId;
  }

  async replayEventsAfter(lastEventId, { send }) {
    const last = Number(lastEventId);
    const streamId = this.events[last - 1]?.streamId ?? '';
    for (const [place, event] of this.events.entries()) {
      if (place >= last && event.streamId === streamId && event.message.jsonrpc) {
        await send(String(place + 1), event.message);
      }
    }
    return streamId;
  }
}

function serveHttp(path, serve) {
  const http = createServer(async (request, response) => {
    try {
      await serve(request, response);
    } catch (error) {
      console.error(error);
      if (!response.headersSent) response.writeHead(500).end();
    }
  });
  http.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ url: `http://127.0.0.1:${http.address().port}${path}` }));
  });
}

if (process.argv[2] === 'stdio') {
  await new Conversation().server.connect(new StdioServerTransport());
} else if (process.argv[2] === 'sse') {
  const transports = new Map();
  serveHttp('/sse', async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (request.method === 'GET') {
      const transport = new SSEServerTransport('/messages', response);
      transports.set(transport.sessionId, transport);
      const { server } = new Conversation();
      response.on('close', () => transports.delete(transport.sessionId));
      await server.connect(transport);
      return;
    }
    const transport = transports.get(url.searchParams.get('sessionId'));
    if (transport) await transport.handlePostMessage(request, response);
    else response.writeHead(404).end();
  });
} else {
  const transports = new Map();
  serveHttp('/mcp', async (request, response) => {
    const id = request.headers['mcp-session-id'];
    if (id !== undefined) {
      const known = transports.get(id);
      if (known) return known.handleRequest(request, response);
      const error = { code: -32001, message: 'Session not found' };
      return response
        .writeHead(404, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id: null, error }));
    }
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: new Kept(),
      retryInterval: 50,
      onsessioninitialized: (made) => transports.set(made, transport),
    });
    const { server } = new Conversation();
    const { onclose } = server;
    server.onclose = () => {
      transports.delete(transport.sessionId);
      onclose();
    };
    await server.connect(transport);
    await transport.handleRequest(request, response);
  });
}
