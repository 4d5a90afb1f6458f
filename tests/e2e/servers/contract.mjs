// What the TypeScript servers of both generations offer to the test `features`: the contract, as JavaScript.

import { readFileSync } from 'node:fs';

const contract = JSON.parse(readFileSync(new URL('contract.json', import.meta.url), 'utf8'));

export const NOTE_URI = contract.note;
export const APP = contract.view;
export const APP_URI = APP.uri;
export const RESOURCES = contract.resources;
export const TEMPLATES = contract.templates;
export const PROMPTS = contract.prompts;
export const COMPLETIONS = contract.completions;
export const CONTENTS = contract.contents;
export const LEVELS = contract.levels;
export const FORM = contract.form;
export const SAMPLING_TOOLS = contract.sampling_tools;

export const text = (said) => ({ content: [{ type: 'text', text: said }] });

/** The tools. `legacy` adds what only a legacy server can do, `grown` the tools that were added later. */
export function definitions({ legacy, grown }) {
  const tools = contract.tools
    .filter((tool) => legacy || !tool.legacy)
    .map(({ name, description, arguments: properties, more = {}, task }) => ({
      name,
      description,
      inputSchema: { type: 'object', properties },
      ...more,
      ...(legacy && task ? { execution: { taskSupport: 'optional' } } : {}),
    }));
  for (let number = 1; number <= grown; number += 1) {
    tools.push({ name: `grown_${number}`, description: 'Was not there before', inputSchema: { type: 'object' } });
  }
  return tools;
}
