// Runs the jobs that a test hands over on stdin through one client library, and prints what was seen as JSON.
//
// A job is one connection and what to do on it; tests/e2e/src/clients.rs documents both shapes. A step that fails says
// so in its own outcome and does not end the job: the test decides what should have worked.

import { createInterface } from 'node:readline';

const describe = (error) => ({
  code: Number.isInteger(error?.code) ? error.code : null,
  message: String(error?.message ?? error),
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
  const seen = [];
  const answer = await client.call(step.name, step.arguments, { onprogress: (note) => seen.push(note.progress) });
  // Notifications sent before the answer may be handled a moment after it.
  for (let wait = 0; wait < 50 && seen.length < (step.atLeast ?? 1); wait += 1) await sleep(20);
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

async function job(connect, wanted) {
  const seen = { id: wanted.id };
  const client = await connect(wanted.connect);
  try {
    seen.protocol = client.protocol;
    for (const key of ['tools', 'resources', 'templates', 'prompts']) {
      if ((wanted.lists ?? ['tools']).includes(key)) seen[key] = await outcome(() => client[key]());
    }
    if (wanted.ping) seen.ping = await outcome(() => client.ping());
    seen.parts = {};
    for (const [key, steps] of Object.entries(wanted.parts ?? {})) seen.parts[key] = await part(client, steps);
    if (wanted.cancel) seen.cancel = await outcome(() => cancel(client, wanted.cancel));
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

/** What the two TypeScript clients have in common: both are a `Client` with the same methods. */
export function wrap(client, protocol, close) {
  return {
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
