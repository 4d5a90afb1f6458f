// Runs the jobs that a test hands over on stdin through one client library, and prints what was seen as JSON.
//
// A job is one connection and what to do on it; tests/e2e/src/clients.rs documents both shapes. A step that fails says
// so in its own outcome and does not end the job: the test decides what should have worked.

import { createInterface } from 'node:readline';

// Answers go to stdout, and some libraries talk.
for (const level of ['log', 'info', 'debug']) console[level] = console.error;

const describe = (error) => ({
  code: Number.isInteger(error?.code) ? error.code : null,
  message: String(error?.message ?? error),
  ...(error?.data === undefined ? {} : { data: error.data }),
});

async function outcome(step) {
  try {
    return { ok: await step() };
  } catch (error) {
    return { error: describe(error) };
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function progress(client, step) {
  let seen;
  let answer;
  // The libraries forget a call's notifications once it is answered, and so those that are read together with the answer where this
  // process was held up. That does not happen each time.
  for (let tries = 0; tries < 3 && !(seen?.length >= (step.atLeast ?? 1)); tries += 1) {
    const notes = (seen = []);
    answer = await client.call(step.name, step.arguments, { onprogress: (note) => notes.push(note.progress) });
    // Notifications sent before the answer may be handled a moment after it.
    for (let wait = 0; wait < 50 && seen.length < (step.atLeast ?? 1); wait += 1) await sleep(20);
  }
  const increasing = seen.every((value, index) => index === 0 || seen[index - 1] < value);
  return { ...answer, notifications: seen.length, increasing };
}

async function part(client, steps) {
  const done = {};
  for (const key of ['tool', 'toolError', 'unknownTool']) {
    if (steps[key]) done[key] = await outcome(() => client.call(steps[key].name, steps[key].arguments));
  }
  if (steps.resource) done.resource = await outcome(() => client.read(steps.resource));
  if (steps.prompt) done.prompt = await outcome(() => client.prompt(steps.prompt.name, steps.prompt.arguments));
  if (steps.completion) done.completion = await outcome(() => client.complete(steps.completion));
  if (steps.progress) done.progress = await outcome(() => progress(client, steps.progress));
  return done;
}

async function cancel(client, { name, arguments: args }) {
  const abort = new AbortController();
  let started;
  const working = new Promise((resolve) => (started = resolve));
  const call = client.call(name, args, { onprogress: () => started(), signal: abort.signal });
  const ended = call.then(() => 'answered', () => 'cancelled');
  await Promise.race([working, ended]);
  abort.abort('the test says so');
  const answered = (await ended) === 'answered';
  return { started: true, ...(answered ? { answered } : {}) };
}

/** What the client was told without asking for it, in the order in which it came. */
class Heard {
  constructor() {
    this.all = { asked: [], logs: [], updated: [], changed: [], completed: [], progress: [] };
    this.arrived = () => {};
  }

  add(kind, what) {
    this.all[kind].push(what);
    this.arrived();
  }

  /** All of a kind, once there are enough of them or the time is over. */
  async wait({ what, atLeast = 1, withinMs = 20000 }) {
    const late = Date.now() + withinMs;
    while (this.all[what].length < atLeast && Date.now() < late) {
      await Promise.race([new Promise((resolve) => (this.arrived = resolve)), sleep(Math.max(late - Date.now(), 1))]);
    }
    return this.all[what];
  }
}

/** What a client can do that has these answers ready. */
export function capabilitiesOf(answers = {}) {
  const elicitation = { ...(answers.form ? { form: {} } : {}), ...(answers.url ? { url: {} } : {}) };
  const sampling = answers.sampling ? { sampling: answers.samplingTools ? { tools: {} } : {} } : {};
  return {
    ...(answers.form || answers.url ? { elicitation } : {}),
    ...sampling,
    ...(answers.roots ? { roots: { listChanged: true } } : {}),
  };
}

/** The answer that was prepared for a request of the server's; the request is noted. */
export function prepared(answers, heard, { method, params }) {
  heard.add('asked', { method, params });
  if (method === 'elicitation/create') return params.mode === 'url' ? answers.url : answers.form;
  if (method === 'sampling/createMessage') return params.tools ? (answers.samplingTools ?? answers.sampling) : answers.sampling;
  return { roots: answers.roots };
}

/** Methods of notifications, and as what they are noted. */
export const NOTED = {
  'notifications/message': (heard, params) => heard.add('logs', params),
  'notifications/resources/updated': (heard, params) => heard.add('updated', params.uri),
  'notifications/tools/list_changed': (heard) => heard.add('changed', 'tools'),
  'notifications/prompts/list_changed': (heard) => heard.add('changed', 'prompts'),
  'notifications/resources/list_changed': (heard) => heard.add('changed', 'resources'),
  'notifications/elicitation/complete': (heard, params) => heard.add('completed', params.elicitationId),
};

/** Calls a tool again and again, until what it says contains something. */
async function until(client, { name, contains, withinMs = 20000 }) {
  const late = Date.now() + withinMs;
  for (;;) {
    const { text } = await client.call(name, {});
    if (text.includes(contains)) return { text };
    if (Date.now() > late) throw new Error(`no ${contains} in ${text}`);
    await sleep(50);
  }
}

function step(client, heard, wanted) {
  switch (wanted.do) {
    case 'call':
      return client.result(wanted, (note) => heard.add('progress', note.progress));
    case 'ping':
      return client.ping();
    case 'hear':
      return heard.wait(wanted);
    case 'until':
      return until(client, wanted);
    default:
      if (!client[wanted.do]) throw new Error(`this client does not know the step ${wanted.do}`);
      return client[wanted.do](wanted);
  }
}

async function job(connect, wanted) {
  const seen = { id: wanted.id };
  const heard = new Heard();
  const client = await connect(wanted.connect, heard);
  try {
    seen.protocol = client.protocol;
    for (const key of ['tools', 'resources', 'templates', 'prompts']) {
      if ((wanted.lists ?? (wanted.script ? [] : ['tools'])).includes(key)) seen[key] = await outcome(() => client[key]());
    }
    if (wanted.ping) seen.ping = await outcome(() => client.ping());
    seen.parts = {};
    for (const [key, steps] of Object.entries(wanted.parts ?? {})) seen.parts[key] = await part(client, steps);
    if (wanted.cancel) seen.cancel = await outcome(() => cancel(client, wanted.cancel));
    if (wanted.script) seen.script = [];
    for (const one of wanted.script ?? []) seen.script.push(await outcome(() => step(client, heard, one)));
    seen.heard = heard.all;
    seen.oauth = client.oauth?.();
  } finally {
    await client.close();
  }
  return seen;
}

/** Every item of a list, over all its pages. */
export async function paged(fetch, key) {
  const items = [];
  let cursor;
  do {
    const result = await fetch(cursor === undefined ? {} : { cursor });
    items.push(...result[key]);
    cursor = result.nextCursor;
  } while (cursor !== undefined);
  return items;
}

export const textOf = (content) =>
  content
    .filter((item) => typeof item.text === 'string')
    .map((item) => item.text)
    .join('\n');

export async function run(connect) {
  for await (const line of createInterface({ input: process.stdin })) {
    const wanted = JSON.parse(line);
    const limit = (wanted.timeoutS ?? 30) * 1000;
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no end after ${limit} ms`)), limit);
    });
    let seen;
    try {
      seen = await Promise.race([job(connect, wanted), late]);
    } catch (error) {
      console.error(error);
      seen = { id: wanted.id, error: describe(error) };
    }
    clearTimeout(timer);
    process.stdout.write(`${JSON.stringify(seen)}\n`);
  }
  // A connection that did not close in time must not keep the process.
  process.exit(0);
}

const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';
const LISTS = {
  tools: (client, params) => client.listTools(params, { cacheMode: 'bypass' }),
  resources: (client, params) => client.listResources(params, { cacheMode: 'bypass' }),
  templates: (client, params) => client.listResourceTemplates(params, { cacheMode: 'bypass' }),
  prompts: (client, params) => client.listPrompts(params, { cacheMode: 'bypass' }),
};

/** What the two TypeScript clients have in common: both are a `Client` with the same methods. */
export function wrap(client, protocol, close) {
  const modern = protocol === '2026-07-28';
  let level;
  let subscription;
  return {
    /** `_meta` of the next calls. */
    meta: () => (modern && level ? { _meta: { [LOG_LEVEL]: level } } : {}),
    // An empty cursor would be one; the first page is asked for by the request itself.
    page: ({ list, cursor }) => LISTS[list](client, cursor === undefined ? { _meta: {} } : { cursor }),
    whole: async ({ list }) => {
      const member = list === 'templates' ? 'resourceTemplates' : list;
      return paged((params) => LISTS[list](client, params), member);
    },
    readResource: ({ uri }) => client.readResource({ uri }, { cacheMode: 'bypass' }),
    getPrompt: ({ name, arguments: args }) => client.getPrompt({ name, arguments: args }),
    completed: ({ ref, argument, context }) => client.complete({ ref, argument, ...(context ? { context } : {}) }),
    setLevel: async (wanted) => {
      level = wanted.level;
      return modern ? {} : client.setLoggingLevel(level);
    },
    watch: async ({ uris = [], lists = [] }) => {
      if (modern) {
        const filter = { resourceSubscriptions: uris };
        for (const list of lists) filter[`${list}ListChanged`] = true;
        subscription = await client.listen(filter);
        return subscription.honoredFilter;
      }
      for (const uri of uris) await client.subscribeResource({ uri });
      return { resourceSubscriptions: uris };
    },
    unwatch: async ({ uris = [] }) => {
      if (modern) await subscription?.close();
      else for (const uri of uris) await client.unsubscribeResource({ uri });
      return {};
    },
    protocol,
    close,
    tools: async () => (await paged((p) => client.listTools(p), 'tools')).map((tool) => tool.name),
    resources: async () => (await paged((p) => client.listResources(p), 'resources')).map((item) => item.uri),
    templates: async () =>
      (await paged((p) => client.listResourceTemplates(p), 'resourceTemplates')).map((item) => item.uriTemplate),
    prompts: async () => (await paged((p) => client.listPrompts(p), 'prompts')).map((prompt) => prompt.name),
    read: async (uri) => ({ text: textOf((await client.readResource({ uri })).contents) }),
    prompt: async (name, args) => {
      const { messages } = await client.getPrompt({ name, arguments: args });
      return { text: textOf(messages.map((message) => message.content)) };
    },
    complete: async (params) => ({ values: (await client.complete(params)).completion.values }),
    ping: async () => (await client.ping(), {}),
  };
}
