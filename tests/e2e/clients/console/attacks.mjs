// What somebody who can make pages, or whose text stands in pages, can do to the people who use the console.

import { createServer } from 'node:http';
import { DatabaseSync } from 'node:sqlite';

import { bySso, check, person, run, same, until } from './browser.mjs';

const cookieOf = async (context, name) => (await context.cookies()).find((cookie) => cookie.name === name);

await run(async ({ job, browser, step }) => {
  const session = job.admin.startsWith('https') ? '__Host-tollgate' : 'tollgate-local';
  const options = { ignoreHTTPSErrors: true };
  const { context, page, noted } = await person(browser, options);

  // Says who they are, unless the provider knows them still.
  const enter = async () => {
    const who = page.getByLabel('Who are you?');
    // Whoever was sent away from a page comes back to it.
    const home = page.getByRole('heading', { name: /^(Overview|Settings and health)$/, level: 1 });
    await who.or(home).waitFor();
    if (await who.count()) {
      await who.fill('sam');
      await page.getByRole('button', { name: 'Go on' }).click();
      await home.waitFor();
    }
  };

  await step('the way in by the provider', () =>
    until('the link', async () => {
      await page.goto(`${job.admin}/sign-in`);
      return (await page.getByRole('link', { name: /identity provider/ }).count()) > 0;
    }),
  );
  await step('a session that was there before the sign-in is not the one after it', async () => {
    // An attacker who could set a cookie would know this value.
    const planted = { name: session, value: `s.${'A'.repeat(43)}`, url: job.admin, secure: job.admin.startsWith('https') };
    await context.addCookies([planted]);
    await bySso(page, job.admin, 'sam');
    const after = await cookieOf(context, session);
    check(after.value !== planted.value, 'the cookie is another');
    const first = after.value;
    // And signing in again makes another one, and ends the one before.
    await page.goto(`${job.admin}/sign-in/oidc`);
    await enter();
    const second = (await cookieOf(context, session)).value;
    check(second !== first, 'the second session is another');
    const other = await person(browser, options);
    await other.context.addCookies([{ ...planted, value: first }]);
    await other.page.goto(`${job.admin}/settings`);
    check(other.page.url().endsWith('/sign-in'), `the first session has ended: ${other.page.url()}`);
    await other.context.close();
  });
  await step('what cookies say', async () => {
    const cookie = await cookieOf(context, session);
    same(
      { httpOnly: cookie.httpOnly, secure: cookie.secure, sameSite: cookie.sameSite, path: cookie.path },
      { httpOnly: true, secure: job.admin.startsWith('https'), sameSite: 'Lax', path: '/' },
      'the cookie',
    );
    check(!cookie.domain.startsWith('.'), `of this host alone: ${cookie.domain}`);
    same(await page.evaluate(() => document.cookie), '', 'what scripts read of cookies');
    // The provider is on the same host, and has cookies of its own.
    const own = (await context.cookies(job.admin)).map(({ name }) => name).filter((name) => name.includes('tollgate'));
    same(own, [session], 'all cookies of the console');
  });

  // Another origin on the same host: cookies do not tell ports apart, so they go along.
  const evil = createServer((request, response) => {
    const form = (action, fields) =>
      `<form method="post" action="${action}">${Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`).join('')}</form>`;
    const bodies = {
      '/block': form(`${job.admin}/kill-switch/block`, { kind: 'tool', tenant: '', name: 'bank/refund', reason: 'csrf', csrf: 'guessed' }),
      '/key': form(`${job.admin}/access/admin-keys`, { name: 'evil', role: 'admin', tenant: '', days: '' }),
      '/out': form(`${job.admin}/sign-out`, {}),
      '/in': form(`${job.admin}/sign-in/key`, { secret: 'tg_x' }),
      '/frame': `<iframe src="${job.admin}/kill-switch" width="800" height="600"></iframe>`,
    };
    response.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><title>evil</title>${bodies[request.url] ?? ''}`);
  });
  await new Promise((resolve) => evil.listen(0, '127.0.0.1', resolve));
  const foreign = `http://127.0.0.1:${evil.address().port}`;

  for (const path of ['/block', '/key', '/out', '/in']) {
    await step(`a form of a foreign page: ${path}`, async () => {
      await page.goto(`${foreign}${path}`);
      const [answer] = await Promise.all([page.waitForNavigation(), page.evaluate(() => document.forms[0].submit()).catch(() => {})]);
      same(answer.status(), 403, `the answer to ${path}`);
    });
  }
  await step('a script of a foreign page', async () => {
    await page.goto(`${foreign}/`);
    const tried = await page.evaluate(async (admin) => {
      const read = await fetch(`${admin}/api/v1/whoami`, { credentials: 'include' }).then((answer) => `read: ${answer.status}`, () => 'kept out');
      const wrote = await fetch(`${admin}/api/v1/blocks`, { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json' }, body: '{"kind":"tool","name":"a/b","reason":"csrf"}' }).then((answer) => `wrote: ${answer.status}`, () => 'kept out');
      const simple = await fetch(`${admin}/api/v1/blocks`, { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{"kind":"tool","name":"a/b","reason":"csrf"}' }).then((answer) => answer.type, () => 'kept out');
      return [read, wrote, simple];
    }, job.admin);
    check(tried[0] === 'kept out' && tried[1] === 'kept out', `what it got: ${tried}`);
  });
  await step('nothing has come of any of it', async () => {
    await page.goto(`${job.admin}/kill-switch`);
    await page.getByText('Nothing is blocked.').waitFor();
    await page.goto(`${job.admin}/access`);
    same(await page.getByText('evil').count(), 0, 'keys of the attacker');
  });
  await step('no page of the console stands in a frame', async () => {
    await page.goto(`${foreign}/frame`);
    const isRefused = (line) => line.includes('frame') || line.includes('X-Frame');
    await until('the word of the browser that it is refused', () => noted.some(isRefused));
    await page.waitForTimeout(500);
    const frame = page.frames().find((one) => one !== page.mainFrame());
    const text = await frame.locator('body').innerText({ timeout: 2000 }).catch(() => '');
    check(!text.includes('Kill switch'), `the frame shows: ${text}`);
  });
  await step('a sign-in leads nowhere else', async () => {
    for (const path of [
      '/sign-in?next=https://evil.example/', '/sign-in/oidc?return_to=//evil.example', '//evil.example/sign-in', '/\\evil.example', '/sign-in/callback?code=x&state=y&iss=https://evil.example',
      '/sign-in?next=javascript:pwned(1)',
    ]) {
      await page.goto(`${job.admin}${path}`).catch(() => {});
      const at = new URL(page.url());
      check([new URL(job.admin).host, new URL(job.provider).host].includes(at.host), `${path} leads to ${at}`);
      const links = await page.locator('a[href*="evil"], form[action*="evil"], a[href^="javascript"]').count();
      same(links, 0, `links to elsewhere at ${path}`);
    }
  });
  await step('a session that is old, or was not used for long, is over', async () => {
    for (const [what, sets] of [['not used for an hour', 'seen_ms = seen_ms - 3600000'], ['old', 'expires_ms = seen_ms']]) {
      await page.goto(`${job.admin}/settings`);
      if (page.url().endsWith('/sign-in')) {
        await page.goto(`${job.admin}/sign-in/oidc`);
        await enter();
        await page.goto(`${job.admin}/settings`);
      }
      await page.getByRole('heading', { name: 'Settings and health' }).waitFor();
      // What time would do.
      const database = new DatabaseSync(job.database, { timeout: 5000 });
      database.exec(`UPDATE tollgate_admin_sessions SET ${sets}`);
      database.close();
      await page.reload();
      check(page.url().endsWith('/sign-in'), `a session that is ${what}: ${page.url()}`);
      await page.getByText('Your session has ended.').waitFor();
    }
    await page.goto(`${job.admin}/sign-in/oidc`);
    await enter();
    check(page.url().endsWith('/settings'), `where they were before: ${page.url()}`);
  });
  await step('a session is gone after the sign-out, in all tabs and for those who go back', async () => {
    await page.goto(`${job.admin}/settings`);
    const kept = (await cookieOf(context, session)).value;
    const tab = await context.newPage();
    await tab.goto(`${job.admin}/access`);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: /Sign in/ }).waitFor();
    await page.goBack();
    await until('no page of before', async () => !(await page.locator('main').innerText()).includes('Settings and health'));
    await tab.reload();
    check(tab.url().endsWith('/sign-in'), `the other tab: ${tab.url()}`);
    same(await cookieOf(context, session), undefined, 'the cookie');
    await context.addCookies([{ name: session, value: kept, url: job.admin, secure: job.admin.startsWith('https') }]);
    await page.goto(`${job.admin}/settings`);
    check(page.url().endsWith('/sign-in'), 'a cookie that was kept');
  });
  evil.close();
  const ran = noted.filter((line) => line.startsWith('a script ran') || line.startsWith('a dialog'));
  same(ran, [], 'scripts of others');
  return {};
});
