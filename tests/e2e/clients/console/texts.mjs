// Texts of attackers on every page that shows them: none becomes anything but text.

import { agent, called } from './agent.mjs';
import { byKey, check, lookAt, others, person, run, same } from './browser.mjs';

await run(async ({ job, browser, step }) => {
  const { page, noted } = await person(browser);
  await step('a client that calls itself so', async () => {
    const client = await agent(job.gateway, job.agent, job.client);
    await called(client, 'crm__say', { note: 'of the client' });
    await client.close();
  });
  await step('sign in', () => byKey(page, job.admin, job.key));
  const shown = [];
  const wrong = [];
  const look = async (path) => {
    const response = await page.goto(`${job.admin}${path}`);
    same(response.status(), 200, `${path} answers`);
    // What is folded away is opened, and what only runs on some events gets them.
    await page.evaluate(() => {
      for (const part of document.querySelectorAll('details')) part.open = true;
      for (const part of document.querySelectorAll('*')) {
        for (const kind of ['mouseover', 'focus', 'toggle', 'error', 'load', 'animationstart']) part.dispatchEvent(new Event(kind, { bubbles: false }));
      }
    });
    const found = await page.evaluate(() => {
      const bad = [];
      for (const part of document.querySelectorAll('*')) {
        for (const { name, value } of part.attributes) {
          if (name.startsWith('on') || (['href', 'src', 'action', 'formaction'].includes(name) && /^\s*(javascript|data|vbscript):/i.test(value))) bad.push(`${part.tagName} ${name}=${value}`);
        }
        if (['IFRAME', 'OBJECT', 'EMBED', 'IMG', 'BASE', 'META'].includes(part.tagName) && part.closest('body')) bad.push(part.tagName);
        if (part.tagName === 'SCRIPT' && part.getAttribute('src') !== '/assets/console.js') bad.push('SCRIPT');
        if (part.tagName === 'STYLE') bad.push('STYLE');
      }
      return { bad, text: document.body.innerText + [...document.querySelectorAll('input, textarea')].map((part) => part.value).join(' ') };
    });
    same(found.bad, [], `what ${path} has`);
    // The whole mark as it was written: each kind of text is told apart by its number.
    for (const [, what] of found.text.matchAll(/pwned\('([\w-]+)'\)/g)) shown.push(what);
    return found.text;
  };
  const more = await others(page, job.pages);
  for (const path of [...job.pages, ...more.map(([, path]) => path)]) await step(`texts at ${path}`, () => look(path));
  for (const [from, link] of job.links) {
    await step(`texts at ${from}, ${link}`, async () => {
      await page.goto(`${job.admin}${from}`);
      const hrefs = await page.locator(link).evaluateAll((links) => links.map((one) => one.getAttribute('href')));
      check(hrefs.length > 0, `there is ${link} at ${from}`);
      for (const href of [...new Set(hrefs)].slice(0, 8)) await look(href);
    });
  }
  await step('long texts of attackers make no page too wide', async () => {
    for (const [name, path] of [...job.wide, ...more]) {
      await page.goto(`${job.admin}${path}`);
      wrong.push(...(await lookAt(page, `hostile-${name}`)));
    }
    same(wrong, [], 'what is wrong');
  });
  await step('every kind of text was seen', () => {
    const missing = job.kinds.filter((kind) => !shown.includes(kind));
    same(missing, [], 'texts that no page has shown');
  });
  same(noted, [], 'what pages did that they should not');
  return { shown: [...new Set(shown)].sort() };
});
