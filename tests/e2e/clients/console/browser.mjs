// A real browser before the console: Debian's Chromium, driven by npm `playwright-core`.
//
// A script is given one job as JSON on its stdin, and prints what came of it as one line of JSON. If a step fails, it says which
// and why on stderr, keeps a picture of every open page in target/screenshots/failed, and ends with 1.

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import axe from 'axe-core';
import { chromium } from 'playwright-core';

const SHOTS = fileURLToPath(new URL('../../../../target/screenshots/', import.meta.url));

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** What is wrong if this is not so. */
export function check(is, what) {
  if (!is) throw new Error(what);
}

export function same(found, wanted, what) {
  const [one, other] = [found, wanted].map((value) => JSON.stringify(value));
  check(one === other, `${what}: ${one} is not ${other}`);
}

/** Tries until it is so. */
export async function until(what, look, ms = 30_000) {
  const end = Date.now() + ms;
  let last;
  while (Date.now() < end) {
    try {
      const found = await look();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within ${ms} ms${last ? `: ${last.message}` : ''}`);
}

/** Runs a script: `main` is given its job, the browser, and `step`, under whose names its parts fail. */
export async function run(main) {
  const job = JSON.parse(Buffer.concat(await Array.fromAsync(process.stdin)));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Nobody is asked for any name, and nothing is reached but this machine.
    args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost', '--disable-dev-shm-usage'],
  });
  const took = {};
  let at = 'the beginning';
  const step = async (name, act) => {
    at = name;
    const began = Date.now();
    const value = await act();
    took[name] = Date.now() - began;
    return value;
  };
  let failed = 0;
  try {
    const value = await main({ job, browser, step });
    process.stdout.write(`${JSON.stringify({ ...value, took })}\n`);
  } catch (error) {
    failed = 1;
    process.stderr.write(`step "${at}" failed: ${error.stack ?? error}\n`);
    await mkdir(`${SHOTS}failed`, { recursive: true });
    const pages = browser.contexts().flatMap((context) => context.pages());
    for (const [nth, page] of pages.entries()) {
      const path = `${SHOTS}failed/${at.replace(/\W+/g, '-')}-${nth}.png`;
      const text = await page.locator('body').innerText({ timeout: 1000 }).catch(() => '');
      process.stderr.write(`--- ${page.url()} (${path})\n${text.slice(0, 1500)}\n`);
      await page.screenshot({ path, timeout: 5000 }).catch(() => {});
    }
  }
  await browser.close();
  process.exit(failed);
}

/** A browser of one person. It notes whatever no page of the console may do. */
export async function person(browser, options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
  const noted = [];
  // What an attacker's text would call, if it ran.
  await context.exposeBinding('pwned', ({ page }, how) => noted.push(`a script ran at ${page.url()}: ${how}`));
  await context.exposeBinding('refusedByPolicy', ({ page }, what) => noted.push(`blocked at ${page.url()}: ${what}`));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) =>
      window.refusedByPolicy(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`),
    );
  });
  context.on('page', (page) => {
    page.on('pageerror', (error) => noted.push(`an error at ${page.url()}: ${error.message}`));
    page.on('console', (message) => {
      if (message.type() === 'error') noted.push(`the console at ${page.url()}: ${message.text()}`);
    });
    page.on('dialog', (dialog) => (dialog.type() === 'confirm' ? dialog.accept() : (noted.push(`a dialog: ${dialog.message()}`), dialog.dismiss())));
  });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  return { context, page, noted };
}

/** Signs somebody in by an admin key. */
export async function byKey(page, base, key) {
  await page.goto(`${base}/sign-in`);
  await page.getByLabel('Admin key').fill(key);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
}

/** The places that the menu leads to and that are not among these, with a short name each: pages that are new are looked at too. */
export async function others(page, known) {
  const all = await page.locator('nav a').evaluateAll((links) => links.map((one) => one.getAttribute('href')));
  return all.filter((href) => !known.includes(href)).map((href) => [href.replaceAll('/', '') || 'overview', href]);
}

/** Signs somebody in at the identity provider, which asks who they are. */
export async function bySso(page, base, name) {
  await page.goto(`${base}/sign-in`);
  await page.getByRole('link', { name: /identity provider/ }).click();
  await page.getByLabel('Who are you?').fill(name);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
}

/** What axe finds wrong with a page. It comes in by the debugger, so that the page's own policy stays as it is. */
export async function axeFinds(page) {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)}: ${node.failureSummary}`));
}

/** What sticks out of the page to the right, on a screen of this width. */
export function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const inScroller = (element) => {
      for (let up = element.parentElement; up; up = up.parentElement) {
        if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(up).overflowX)) return true;
      }
      return false;
    };
    const out = [...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > width + 1 && !inScroller(e));
    return out.slice(0, 5).map((e) => `${e.tagName} ${e.className}: ${(e.textContent ?? '').trim().slice(0, 60)}`);
  });
}

export async function shot(page, name) {
  await mkdir(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}${name}.png`, fullPage: true });
}

/** Looks at the page that is open in both colour schemes and sizes: pictures, and all that is wrong with it. */
export async function lookAt(page, name) {
  const wrong = [];
  for (const [size, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    await page.setViewportSize(viewport);
    for (const scheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme: scheme });
      await shot(page, `${name}-${size}-${scheme}`);
      // What is different on a phone is the menu and the size of things, not the colours.
      if (size === 'desktop' || scheme === 'light') {
        wrong.push(...(await axeFinds(page)).map((found) => `${name}, ${size}, ${scheme}: ${found}`));
      }
    }
    wrong.push(...(await overflow(page)).map((found) => `${name}, ${size}: wider than the screen: ${found}`));
  }
  await page.setViewportSize(DESKTOP);
  await page.emulateMedia({ colorScheme: 'light' });
  return wrong;
}
