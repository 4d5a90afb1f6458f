// What the TypeScript servers of both generations offer to the test `features`.

const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
const SILENCE = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=';

export const NOTE_URI = 'note://greeting';
export const APP_URI = 'ui://contract/view';
export const APP = { uri: APP_URI, mimeType: 'text/html;profile=mcp-app', text: '<p>A view</p>' };

export const RESOURCES = [
  { uri: NOTE_URI, name: 'greeting', mimeType: 'text/plain' },
  { uri: APP_URI, name: 'view', mimeType: 'text/html;profile=mcp-app' },
];
export const TEMPLATES = [{ uriTemplate: 'note://people/{who}', name: 'people', mimeType: 'text/plain' }];
export const PROMPTS = [
  { name: 'introduce', description: 'Introduces', arguments: [{ name: 'who', required: true }, { name: 'team' }] },
  { name: 'ask_in_prompt', description: 'Asks the user first' },
];
export const COMPLETIONS = ['ada', 'alan', 'grace'];

export const text = (said) => ({ content: [{ type: 'text', text: said }] });

/** A result with content of every kind. */
export const CONTENTS = {
  content: [
    { type: 'text', text: 'a text' },
    { type: 'image', data: PIXEL, mimeType: 'image/png' },
    { type: 'audio', data: SILENCE, mimeType: 'audio/wav' },
    { type: 'resource_link', uri: NOTE_URI, name: 'greeting', mimeType: 'text/plain' },
    { type: 'resource', resource: { uri: NOTE_URI, mimeType: 'text/plain', text: 'embedded' } },
  ],
  structuredContent: { kinds: 5 },
};

const PLAIN = {
  fail: 'Fails',
  slow: 'Reports progress',
  observations: 'What happened',
  contents: 'Answers with content of every kind',
  log: 'Logs once at each level',
  grow: 'Says that every list has changed',
  ask_twice: 'Asks the user twice',
  ask_roots: 'Asks for the roots',
};

const WITH_MESSAGE = {
  echo: 'Answers with its argument',
  ask_form: 'Asks the user by a form',
  ask_url: 'Asks the user to open an address',
  ask_model: 'Asks the model',
  ask_model_with_tools: 'Asks the model, which may use a tool',
};

const LEGACY = {
  count: 'Counts the calls of a conversation',
  cut: 'Ends the stream before the answer',
  ping_client: 'Asks whether the client is there',
};

/** The tools. `legacy` adds what only a legacy server can do, `grown` the tools that were added later. */
export function definitions({ legacy, grown }) {
  const object = (properties) => ({ type: 'object', properties });
  const message = object({ message: { type: 'string' } });
  const tools = [
    ...Object.entries({ ...PLAIN, ...(legacy ? LEGACY : {}) }).map(([name, description]) => ({
      name,
      description,
      inputSchema: object({}),
    })),
    ...Object.entries(WITH_MESSAGE).map(([name, description]) => ({ name, description, inputSchema: message })),
    { name: 'wait', description: 'Answers only when cancelled', inputSchema: object({ key: { type: 'string' } }) },
    { name: 'touch', description: 'Says that a resource has changed', inputSchema: object({ uri: { type: 'string' } }) },
    {
      name: 'mirrored',
      description: 'Has an argument that a modern client repeats in a header',
      inputSchema: object({ place: object({ region: { type: 'string', 'x-mcp-header': 'Region' } }) }),
    },
    {
      name: 'view',
      description: 'Has a view of its own',
      icons: [{ src: `data:image/png;base64,${PIXEL}`, mimeType: 'image/png' }],
      inputSchema: object({}),
      _meta: { ui: { resourceUri: APP_URI }, 'ui/resourceUri': APP_URI },
    },
  ];
  if (legacy) tools.push({ name: 'ask_alone', description: 'Asks outside a call', inputSchema: message });
  const execution = legacy ? { execution: { taskSupport: 'optional' } } : {};
  tools.push({ name: 'job', description: 'Takes a while', inputSchema: object({}), ...execution });
  tools.push({ name: 'ask_job', description: 'Asks while it takes a while', inputSchema: message, ...execution });
  for (let number = 1; number <= grown; number += 1) {
    tools.push({ name: `grown_${number}`, description: 'Was not there before', inputSchema: object({}) });
  }
  return tools;
}
