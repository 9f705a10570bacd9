// One real Chromium for all flows: pages with and without JavaScript, pictures of them, accessibility checks.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { useKeysOnly } from './keyboard.mjs';

const modules = process.env.BROWSER_MODULES;
const require = createRequire(path.join(modules, 'package.json'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const pictures = process.env.BROWSER_PICTURES;
mkdirSync(pictures, { recursive: true });

let checked = 0;

/** The browser, with the arguments that a container needs. */
export async function launch() {
  return chromium.launch({
    executablePath: process.env.BROWSER_PROGRAM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

const screen = (phone) => (phone ? { width: 375, height: 740 } : { width: 1280, height: 900 });

/** The same way, with scripts where it has none and without where it has. */
export const opposite = (way) => ({ ...way, script: !way.script });

/** Somebody at a browser of their own. Requests to any other host fail the test. */
export async function visitor(browser, origin, options = {}) {
  const { script = true, language = 'en', theme = 'light', phone = false, keys = false } = options;
  const context = await browser.newContext({
    javaScriptEnabled: script,
    locale: language,
    colorScheme: theme,
    baseURL: origin,
    viewport: screen(phone),
  });
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  if (keys) useKeysOnly(page);
  const strange = [];
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(origin)) strange.push(url);
  });
  const refused = [];
  page.on('console', (line) => {
    if (line.type() === 'error' && /Content Security Policy|Refused/.test(line.text())) refused.push(line.text());
  });
  return { page, context, strange, refused, options: { script, language, theme, phone } };
}

/** No accessibility violation, nothing wider than the screen, no foreign request, no policy breach; and a picture. */
export async function inspect(visit, name) {
  const { page, strange, refused, options } = visit;
  const file = [name, options.language, options.theme, options.phone ? 'phone' : 'wide', options.script ? 'js' : 'nojs'];
  if (options.script) await staysWhereItIs(page, file);
  await page.screenshot({ path: path.join(pictures, `${file.join('-')}.png`), fullPage: true });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) throw new Error(`${file.join(' ')}: ${wide} pixels wider than the screen`);
  if (options.script) await check(page, file);
  else await checkWithoutScript(visit, file);
  if (strange.length) throw new Error(`asked elsewhere: ${strange.join(' ')}`);
  if (refused.length) throw new Error(`against the policy: ${refused.join(' ')}`);
  checked += 1;
}

/** The same, and with scripts once more in French, in the other colours and at the other width: for pages that one person sees only. */
export async function inspectTwice(visit, name) {
  const { options } = visit;
  await inspect(visit, name);
  if (!options.script) return;
  const other = { ...options, language: 'fr-FR', theme: options.theme === 'dark' ? 'light' : 'dark', phone: !options.phone };
  await turn(visit, other);
  await inspect({ ...visit, options: other }, name);
  await turn(visit, options);
}

/** The same page, in another way. */
async function turn({ page, context }, { language, theme, phone }) {
  const url = new URL(page.url()).origin;
  await context.addCookies([{ name: 'language', value: language.slice(0, 2), url }, { name: 'theme', value: theme, url }]);
  await page.setViewportSize(screen(phone));
  await page.reload();
}

/** Nothing moved while the page was drawn, but for what somebody did to it. */
async function staysWhereItIs(page, file) {
  const moved = await page.evaluate(() => new Promise((resolve) => {
    const seen = [];
    const observer = new PerformanceObserver((list) => seen.push(...list.getEntries()));
    observer.observe({ type: 'layout-shift', buffered: true });
    setTimeout(() => {
      seen.push(...observer.takeRecords());
      const own = seen.filter((shift) => !shift.hadRecentInput);
      const what = own.flatMap((shift) => shift.sources.map((one) => one.node?.outerHTML?.slice(0, 120) ?? 'text'));
      resolve({ sum: own.reduce((sum, shift) => sum + shift.value, 0), what });
    }, 100);
  }));
  if (moved.sum >= 0.01) throw new Error(`${file.join(' ')}: moved by ${moved.sum}: ${moved.what.join(' | ')}`);
}

let twin;

/** What checks a page is a script: the page as it stands is looked at in a twin that runs scripts, and has none of its own. */
async function checkWithoutScript({ page, context, options }, file) {
  const markup = (await page.content()).replace(/<script[^>]*><\/script>/g, '');
  twin ??= await context.browser().newPage();
  await twin.setViewportSize(page.viewportSize());
  await twin.emulateMedia({ colorScheme: options.theme });
  await twin.unrouteAll();
  await twin.route(page.url(), (route) => route.fulfill({ contentType: 'text/html; charset=utf-8', body: markup }));
  // Else a page that was just looked at might be taken for the same one.
  await twin.goto('about:blank');
  await twin.goto(page.url());
  await check(twin, file);
}

async function check(page, file) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const result = await window.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    });
    return result.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(' | ')}`);
  });
  if (found.length) throw new Error(`${file.join(' ')}: ${found.join('\n')}`);
}

/** How many pages were inspected. */
export const inspected = () => checked;

/** Fails with a sentence unless it holds. */
export function holds(condition, sentence) {
  if (!condition) throw new Error(sentence);
}
