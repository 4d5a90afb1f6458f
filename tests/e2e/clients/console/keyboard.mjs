// The console by keyboard alone, and without JavaScript.

import { PHONE, byKey, check, others, person, run, same, until } from './browser.mjs';

const focused = (page) =>
  page.evaluate(() => {
    const at = document.activeElement;
    const style = getComputedStyle(at);
    const ring = style.outlineStyle !== 'none' && Number.parseFloat(style.outlineWidth) >= 2;
    const box = at.getBoundingClientRect();
    return { tag: at.tagName, text: (at.innerText ?? at.value ?? '').trim(), href: at.getAttribute('href'), ring, seen: box.width > 0 && box.height > 0 && box.left >= 0 && box.top >= 0 };
  });

await run(async ({ job, browser, step }) => {
  const { page, noted } = await person(browser);
  await step('sign in', () => byKey(page, job.admin, job.key));
  const pages = [...job.pages, ...(await others(page, job.pages)).map(([, path]) => path)];
  await step('the first key leads past the menu', async () => {
    await page.goto(`${job.admin}/servers`);
    await page.keyboard.press('Tab');
    const first = await focused(page);
    check(first.text === 'Skip to the content' && first.ring && first.seen, `the skip link is seen: ${JSON.stringify(first)}`);
    await page.keyboard.press('Enter');
    same(await page.evaluate(() => document.activeElement.id), 'main', 'where it leads');
    await page.keyboard.press('Tab');
    const next = await page.evaluate(() => document.activeElement.closest('main') !== null);
    check(next, 'the next key stays in the content');
  });
  await step('everything that can be used is reached, and is seen to be', async () => {
    for (const path of pages) {
      await page.goto(`${job.admin}${path}`);
      const wanted = await page.evaluate(() => {
        const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')];
        return all.filter((one) => one.getClientRects().length > 0 && !one.closest('details:not([open]) > :not(summary)')).length;
      });
      const seen = new Set();
      for (let nth = 0; nth < wanted * 5 + 10; nth += 1) {
        await page.keyboard.press('Tab');
        const at = await focused(page);
        if (at.tag === 'BODY') break;
        check(at.ring, `${path}: the focus is seen: ${JSON.stringify(at)}`);
        seen.add(await page.evaluate(() => {
          const at = document.activeElement;
          at.dataset.nth ??= String(document.querySelectorAll('[data-nth]').length);
          return at.dataset.nth;
        }));
      }
      check(seen.size >= wanted, `${path}: ${seen.size} of ${wanted} are reached`);
    }
  });
  await step('the menu of a phone opens by keyboard', async () => {
    await page.setViewportSize(PHONE);
    await page.goto(`${job.admin}/`);
    check(!(await page.getByRole('link', { name: 'Settings' }).isVisible()), 'it is folded away');
    await page.locator('details.menu > summary').focus();
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'Settings' }).waitFor();
    await page.keyboard.press('Tab');
    const first = await focused(page);
    check(first.href === '/' && first.ring, `its first link: ${JSON.stringify(first)}`);
    await page.getByRole('link', { name: 'Kill switch' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Kill switch', level: 1 }).waitFor();
  });
  await step('live parts renew themselves, and not under somebody who is in them', async () => {
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.goto(`${job.admin}/`);
    await page.evaluate(() => document.querySelector('#live .cards').append('stale'));
    await until('the live part', async () => !(await page.locator('#live').innerText()).includes('stale'), 20_000);
  });
  await step('times are those of the reader', async () => {
    await page.goto(`${job.admin}/access`);
    const time = page.locator('table time').first();
    const [shown, meant] = [await time.innerText(), await time.getAttribute('datetime')];
    const wanted = new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Berlin', hour: '2-digit', minute: '2-digit' }).format(new Date(meant));
    check(shown.includes(wanted), `${shown} for ${meant}`);
  });

  const plain = await person(browser, { javaScriptEnabled: false });
  await step('all of it works without JavaScript', async () => {
    await byKey(plain.page, job.admin, job.key);
    for (const path of pages) same((await plain.page.goto(`${job.admin}${path}`)).status(), 200, path);
    await plain.page.goto(`${job.admin}/`);
    check(await plain.page.getByRole('link', { name: 'Settings' }).isVisible(), 'the menu is open on a wide screen');
    await plain.page.goto(`${job.admin}/kill-switch`);
    await plain.page.getByLabel('Name').fill('crm/echo');
    await plain.page.getByLabel('Why', { exact: true }).first().fill('without a script');
    await plain.page.getByRole('button', { name: 'Block', exact: true }).click();
    await plain.page.getByRole('row', { name: /crm\/echo/ }).waitFor();
    await plain.page.getByRole('button', { name: /^Unblock/ }).click();
    await plain.page.getByText('Nothing is blocked.').waitFor();
    await plain.page.setViewportSize(PHONE);
    await plain.page.goto(`${job.admin}/`);
    await plain.page.locator('details.menu > summary').click();
    await plain.page.getByRole('link', { name: 'Usage' }).click();
    await plain.page.getByRole('heading', { name: /usage/i, level: 1 }).waitFor();
    await plain.page.getByRole('button', { name: 'Sign out' }).click();
    await plain.page.getByRole('heading', { name: /Sign in/ }).waitFor();
  });
  same(noted, [], 'what pages did that they should not');
  return {};
});
