// Every page of the console, looked at: both colour schemes, a desk and a phone, axe, and nothing that only a mistake would do.

import { byKey, check, lookAt, others, person, run, same } from './browser.mjs';

await run(async ({ job, browser, step }) => {
  const { page, noted } = await person(browser);
  const wrong = [];
  const look = async (name, path) => {
    const response = await page.goto(`${job.admin}${path}`);
    same(response.status(), 200, `${path} answers`);
    wrong.push(...(await lookAt(page, `${job.scene}-${name}`)));
  };
  await step('sign in', async () => {
    if (job.signIn) await look('sign-in', '/sign-in');
    await byKey(page, job.admin, job.key);
  });
  const pages = [...job.pages, ...(await others(page, job.pages.map(([, path]) => path)))];
  for (const [name, path] of pages) await step(name, () => look(name, path));
  // Pages that only a link leads to: the first of each kind.
  for (const [name, from, link] of job.links ?? []) {
    await step(name, async () => {
      await page.goto(`${job.admin}${from}`);
      const href = await page.locator(link).first().getAttribute('href');
      await look(name, href);
    });
  }
  check(wrong.length === 0, `${wrong.length} things are wrong:\n${wrong.join('\n')}`);
  same(noted, [], 'what pages did that they should not');
  return { looked: pages.length };
});
