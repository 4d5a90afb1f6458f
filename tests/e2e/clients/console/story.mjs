// The whole story, each part by another person in a browser of their own, and the agent by the official client library.

import { agent, called } from './agent.mjs';
import { bySso, check, person, run, same, until } from './browser.mjs';

await run(async ({ job, browser, step }) => {
  const people = {};
  const all = [];
  const as = async (name) => {
    if (!people[name]) {
      const one = await person(browser);
      all.push(one.noted);
      await bySso(one.page, job.admin, name);
      people[name] = one.page;
    }
    return people[name];
  };
  const open = (page, path) => page.goto(`${job.admin}${path}`);
  const body = (page) => page.locator('main').innerText();

  await step('the owner signs in and registers a server', async () => {
    const page = await as('olga');
    await open(page, '/servers');
    await page.getByRole('link', { name: 'Register a server' }).click();
    await page.getByLabel('Tenant').selectOption('acme');
    await page.getByLabel('Name', { exact: true }).fill('bank');
    await page.getByLabel('Version').fill('1');
    await page.getByLabel(/^URL of its MCP/).fill(job.server);
    await page.getByLabel(/^Owner/).fill('finance-platform');
    await page.getByLabel('Risk').fill('high');
    await page.getByLabel('Why').fill('Refunds by agents.');
    await page.getByRole('button', { name: 'Register as a draft' }).click();
    await page.getByRole('heading', { name: /bank/ }).waitFor();
    check((await body(page)).includes('draft'), `it is a draft: ${await body(page)}`);
  });
  await step('agents know nothing of a draft', async () => {
    const client = await agent(job.gateway, job.key);
    const { tools } = await client.listTools();
    same(tools.map(({ name }) => name), [], 'what the agent sees');
    await client.close();
  });
  await step('the owner submits it', async () => {
    const page = await as('olga');
    await page.getByRole('button', { name: /Submit/ }).click();
    await page.getByText('in review').first().waitFor();
  });
  await step('security reviews and approves it', async () => {
    const page = await as('sam');
    await open(page, '/review');
    await page.getByRole('link', { name: 'bank' }).click();
    await page.getByRole('button', { name: 'Ask it what it has' }).click();
    await page.getByRole('heading', { name: 'refund' }).waitFor();
    check((await body(page)).includes('Pays an amount back'), 'the definition is shown');
    await page.getByLabel('Why').fill('Looked at the code.');
    const answered = page.waitForEvent('framenavigated');
    await page.getByRole('button', { name: 'Approve', exact: true }).click();
    await answered;
    await open(page, '/servers');
    await page.getByRole('row', { name: /bank/ }).getByText('approved').waitFor();
  });

  const client = await step('the agent sees its tools', () =>
    until('the tools', async () => {
      const found = await agent(job.gateway, job.key);
      const { tools } = await found.listTools();
      if (tools.some(({ name }) => name === 'bank__refund')) return found;
      await found.close();
      return undefined;
    }),
  );
  const held = await step('the agent calls, and the call waits for people', async () => {
    const call = called(client, 'bank__refund', { payment: 'pay_42', amount: 20 });
    const page = await as('grace');
    await open(page, '/approvals');
    await until('the call in the inbox', async () => {
      await page.reload();
      return (await page.getByRole('link', { name: 'bank/refund' }).count()) === 1;
    });
    // A promise that is returned as it is would be waited for.
    return { call };
  });
  await step('the caller cannot be taken for an approver', async () => {
    const page = await as('olga');
    const response = await open(page, '/approvals');
    same(response.status(), 403, 'the inbox of somebody who does not approve');
  });
  await step('an approver agrees in the browser', async () => {
    const page = await as('grace');
    await page.getByRole('link', { name: 'bank/refund' }).click();
    check((await body(page)).includes('pay_42'), 'the arguments are shown');
    await page.getByLabel('Why').fill('The customer is right.');
    await page.getByRole('button', { name: 'Approve', exact: true }).click();
    await page.waitForLoadState();
  });
  await step('the call is answered', async () => {
    const answer = await held.call;
    check(answer.ok, `the call: ${answer.text}`);
  });
  await step('the auditor finds it and sees why it was let through', async () => {
    const page = await as('audrey');
    await open(page, '/calls');
    await page.getByLabel('Tool', { exact: true }).fill('refund');
    await page.getByLabel('Outcome').selectOption('ok');
    await page.getByRole('button', { name: 'Search' }).click();
    await until('the call in the record', async () => {
      await page.reload();
      return (await page.getByRole('link', { name: 'bank__refund' }).count()) > 0;
    });
    await page.getByRole('link', { name: 'bank__refund' }).first().click();
    const text = await body(page);
    for (const part of ['support-bot', 'payments-need-finance', 'allowed', 'waiting for the server']) {
      check(text.includes(part), `the call's page says ${part}: ${text}`);
    }
  });
  await step('the auditor verifies the record', async () => {
    const page = await as('audrey');
    await open(page, '/settings');
    await page.getByRole('button', { name: /Verify the record/ }).click();
    await page.getByText('The record is what was written.').waitFor();
  });
  await step('the auditor can stop nothing', async () => {
    const page = await as('audrey');
    await open(page, '/kill-switch');
    same(await page.getByRole('button', { name: 'Block' }).count(), 0, 'buttons that block');
  });
  await step('security blocks the tool', async () => {
    const page = await as('sam');
    await open(page, '/kill-switch');
    await page.getByLabel('What', { exact: true }).selectOption('tool');
    await page.getByLabel('Of tenant').first().selectOption('acme');
    await page.getByLabel('Name').fill('bank/refund');
    await page.getByLabel('Why', { exact: true }).first().fill('Refunds are audited first.');
    await page.getByLabel(/Tell those/).check();
    await page.getByRole('button', { name: 'Block', exact: true }).click();
    await page.getByRole('row', { name: /bank\/refund/ }).waitFor();
  });
  await step('the agent is refused', async () => {
    await until('the refusal', async () => {
      const answer = await called(client, 'bank__refund', { payment: 'pay_43', amount: 20 });
      return !answer.ok && answer.text.includes('Refunds are audited first.');
    });
  });
  await client.close();
  same(all.flat().filter((line) => !line.includes('403')), [], 'what pages did that they should not');
  return {};
});
