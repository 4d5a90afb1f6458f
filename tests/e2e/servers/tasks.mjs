// A modern server over HTTP whose tools become tasks: what the conformance runner's `tasks-*` scenarios ask for. It is
// written without any library, since none has the extension on both sides; its first line says where it listens.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const EXTENSION = 'io.modelcontextprotocol/tasks';
const OWN = { 'io.modelcontextprotocol/serverInfo': { name: 'tasks', version: '1.0.0' } };
const required = { requiredCapabilities: { extensions: { [EXTENSION]: {} } } };

class Refused extends Error {
  constructor(code, message, { status = 200, data } = {}) {
    super(message);
    Object.assign(this, { code, status, data });
  }
}

const text = (said, isError) => ({ content: [{ type: 'text', text: said }], ...(isError ? { isError } : {}) });
const complete = (result) => ({ resultType: 'complete', ...result });
const form = (message) => ({
  method: 'elicitation/create',
  params: { mode: 'form', message, requestedSchema: { type: 'object', properties: { name: { type: 'string' }, confirm: { type: 'boolean' } } } },
});

const tasks = new Map();

class Task {
  constructor(questions = {}, done = () => text('done')) {
    const now = new Date().toISOString();
    this.state = { taskId: randomUUID(), status: 'working', createdAt: now, lastUpdatedAt: now, ttlMs: 60_000, pollIntervalMs: 100 };
    Object.assign(this, { questions, answers: {}, done });
    this.made = { resultType: 'task', ...this.state };
    tasks.set(this.state.taskId, this);
    if (Object.keys(questions).length > 0) this.become('input_required');
  }

  become(status, payload = {}) {
    if (this.isOver()) return;
    Object.assign(this.state, { status, lastUpdatedAt: new Date().toISOString() }, payload);
  }

  isOver() {
    return ['completed', 'failed', 'cancelled'].includes(this.state.status);
  }

  after(ms, status, payload) {
    setTimeout(() => this.become(status, payload), ms);
    return this.made;
  }

  update(responses) {
    for (const [key, response] of Object.entries(responses ?? {})) {
      if (!(key in this.questions)) continue;
      this.answers[key] = response;
      delete this.questions[key];
    }
    if (this.state.status === 'input_required' && Object.keys(this.questions).length === 0) {
      this.become('working');
      this.after(50, 'completed', { result: this.done(this.answers) });
    }
  }

  get seen() {
    const open = this.state.status === 'input_required';
    return complete({ ...this.state, ...(open ? { inputRequests: this.questions } : {}) });
  }
}

const tools = {
  greet: (args) => complete(text(`Hello, ${args.name}!`)),
  slow_compute: ({ seconds = 0, label = '' }, { declared }) => {
    const said = text(`computed ${label}`);
    if (!declared || seconds === 0) return complete(said);
    return new Task().after(seconds * 1000, 'completed', { result: said });
  },
  failing_job: (_, { declared }) => {
    if (!declared) throw new Refused(-32021, 'Missing required client capability', { status: 400, data: required });
    return new Task().after(300, 'completed', { result: text('it failed', true) });
  },
  protocol_error_job: () => new Task().after(300, 'failed', { error: { code: -32603, message: 'it broke' } }),
  confirm_delete: ({ filename = 'it' }) => new Task({ confirm: form(`Delete ${filename}?`) }, (answers) => text(`deleted: ${JSON.stringify(answers.confirm)}`)).made,
  multi_input: () => new Task({ first: form('First?'), second: form('Second?') }, (answers) => text(JSON.stringify(answers))).made,
  test_tool_with_task: (_, { params }) => {
    const answer = params.inputResponses?.user_name;
    if (!answer) return { resultType: 'input_required', inputRequests: { user_name: form('Who are you?') }, requestState: 'asked' };
    return new Task().after(300, 'completed', { result: text(`done for ${answer.content?.name}`) });
  },
};

function known(params) {
  const task = tasks.get(params.taskId);
  if (!task) throw new Refused(-32602, 'Unknown task');
  return task;
}

function answer({ method, params = {} }) {
  const declared = Boolean(params._meta?.['io.modelcontextprotocol/clientCapabilities']?.extensions?.[EXTENSION]);
  if (['tasks/get', 'tasks/update', 'tasks/cancel'].includes(method) && !declared) {
    throw new Refused(-32021, 'Missing required client capability', { status: 400, data: required });
  }
  switch (method) {
    case 'server/discover':
      return complete({ supportedVersions: ['2026-07-28'], capabilities: { tools: {}, extensions: { [EXTENSION]: {} } }, ttlMs: 0, cacheScope: 'public' });
    case 'tools/list':
      return complete({ tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: 'object' } })), ttlMs: 0, cacheScope: 'public' });
    case 'tools/call':
      if (!tools[params.name]) throw new Refused(-32602, 'Unknown tool');
      return tools[params.name](params.arguments ?? {}, { declared, params });
    case 'tasks/get':
      return known(params).seen;
    case 'tasks/update':
      known(params).update(params.inputResponses);
      return complete({});
    case 'tasks/cancel':
      known(params).become('cancelled');
      return complete({});
    default:
      throw new Refused(-32601, 'Method not found', { status: 404 });
  }
}

function checked(request, message) {
  const meta = message.params?._meta ?? {};
  const version = meta['io.modelcontextprotocol/protocolVersion'];
  const data = { supported: ['2026-07-28'], requested: version ?? message.params?.protocolVersion ?? '' };
  if (version !== '2026-07-28') throw new Refused(-32022, 'Unsupported protocol version', { status: 400, data });
  const { name, taskId } = message.params;
  const named = { 'tools/call': name, 'tasks/get': taskId, 'tasks/update': taskId, 'tasks/cancel': taskId }[message.method];
  const mismatch = (header) => new Refused(-32020, `Header mismatch: ${header}`, { status: 400 });
  if (request.headers['mcp-protocol-version'] !== version) throw mismatch('MCP-Protocol-Version');
  if (request.headers['mcp-method'] !== message.method) throw mismatch('Mcp-Method');
  if (named !== undefined && request.headers['mcp-name'] !== named) throw mismatch('Mcp-Name');
  return answer(message);
}

const server = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const say = (status, message) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(message));
  if (request.method !== 'POST') return response.writeHead(405).end();
  const message = JSON.parse(body);
  if (message.id === undefined) return response.writeHead(202).end();
  try {
    const result = checked(request, message);
    say(200, { jsonrpc: '2.0', id: message.id, result: { ...result, _meta: { ...OWN, ...result._meta } } });
  } catch (error) {
    const { code = -32603, message: said, status = 500, data } = error;
    say(status, { jsonrpc: '2.0', id: message.id, error: { code, message: said, ...(data ? { data } : {}) } });
  }
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/mcp` })));
