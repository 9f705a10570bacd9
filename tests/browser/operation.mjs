// How the product runs: overview, figures, nodes, backups, settings.
import { enrol, signIn } from './access.mjs';
import { holds, inspect, inspectTwice, visitor } from './browser.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Loads the page until there are figures: the nodes are asked every ten seconds. */
async function figures(page) {
  for (let n = 0; n < 80; n += 1) {
    await page.goto('/metrics');
    if (await page.locator('.chart').count() === 2) return;
    await pause(500);
  }
  throw new Error('no figures came');
}

export async function theProductIsLookedAt(browser, origin, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'sue');
  holds(page.url().endsWith('/overview'), 'who runs the product is led to the overview');
  await figures(page);
  await inspect(visit, 'metrics');
  await page.locator('details summary').first().click();
  holds(await page.locator('details tbody tr').first().isVisible(), 'every chart has its table');
  await inspect(visit, 'metrics-table');
  await page.selectOption('#range', '30d');
  await page.selectOption('#step', 'deliver');
  await page.click('form[action="/metrics"] button');
  await page.waitForURL(/range=30d/);
  await inspect(visit, 'metrics-month');
  for (const room of ['overview', 'nodes', 'backups', 'settings']) {
    await page.goto(`/${room}`);
    await inspect(visit, room);
  }
  holds(await page.locator('form[action^="/settings/"] button').count() === 0, 'who runs it reads the settings only');
  await page.goto('/backups');
  holds(/never|jamais/.test(await page.textContent('dl.figures')), 'what never happened is said, not invented');
  await visit.context.close();
}

export async function figuresAreDownloaded(browser, origin) {
  const visit = await visitor(browser, origin, { script: false });
  const { page } = visit;
  await signIn(page, 'otto');
  await figures(page);
  const read = async (path) => (await page.context().request.get(`${origin}${path}`)).text();
  const csv = (await read('/metrics.csv')).trim().split('\r\n');
  holds(csv[0].startsWith('began_at,length_ms,messages') && csv.length > 1, 'as CSV');
  holds(csv.every((line) => line.split(',').length === csv[0].split(',').length), 'with every column in every line');
  const log = await read('/metrics.hlog');
  holds(log.startsWith('#[Histogram log format version 1.3]'), 'as HDR log');
  await visit.context.close();
}

export async function aSettingIsChanged(browser, origin) {
  const visit = await visitor(browser, origin, { script: false });
  const { page } = visit;
  await enrol(page, 'ivy');
  await page.goto('/settings');
  const form = 'form[action="/settings/backup-age-minutes"]';
  await page.evaluate((name) => document.querySelector(name).setAttribute('novalidate', ''), form);
  await page.fill(`${form} input[type=number]`, '0');
  await page.click(`${form} button`);
  holds(await page.locator('#backup-age-minutes[aria-invalid]').count() === 1, 'what is out of bounds is said beside it');
  await inspect(visit, 'settings-wrong');
  await page.fill(`${form} input[type=number]`, '45');
  await page.click(`${form} button`);
  holds((await page.inputValue('#backup-age-minutes')) === '45', 'kept');
  await inspectTwice(visit, 'settings-changed');
  await page.goto('/backups');
  holds((await page.textContent('dl.figures')).includes('45 min'), 'and in use');
  await page.goto('/audit?event=SETTING_CHANGED');
  holds((await page.textContent('tbody')).includes('backup-age-minutes: (default) -> 45'), 'both values are in the trail');
  await page.goto('/settings');
  await page.click(`${form} button[name=default]`);
  holds((await page.inputValue('#backup-age-minutes')) === '5', 'and back');
  await visit.context.close();
}

export async function contentRulesAreKept(browser, origin) {
  const visit = await visitor(browser, origin, { script: false });
  const { page } = visit;
  await enrol(page, 'joe');
  await page.goto('/settings/content');
  await page.fill('#text', 'no domain');
  await page.click('#add button');
  holds(await page.locator('#text[aria-invalid]').count() === 1, 'what is no domain is refused');
  holds((await page.inputValue('#text')) === 'no domain', 'and kept');
  await inspect(visit, 'content-wrong');
  await page.selectOption('#kind', 'SPAM');
  await page.fill('#text', 'Cheap * Watches');
  await page.click('#add button');
  holds((await page.textContent('tbody')).includes('cheap * watches'), 'it is in use');
  await inspectTwice(visit, 'content');
  await page.click('tr:has-text("cheap * watches") button');
  holds(!(await page.textContent('tbody')).includes('cheap * watches'), 'and gone');
  await page.goto('/audit?event=CONTENT_RULE_REMOVED');
  holds((await page.textContent('tbody')).includes('SPAM: cheap * watches'), 'which the trail tells');
  await visit.context.close();
}

export async function aNodeIsDrained(browser, origin, product) {
  const visit = await visitor(browser, origin, { script: false });
  const { page } = visit;
  await signIn(page, 'sue');
  await page.goto('/nodes');
  await page.locator('tbody details summary').first().click();
  await inspect(visit, 'node-drain');
  // The console belongs to the same program: whether it still answers the redirect is a matter of luck, that it ends is not.
  await page.click('form[action$="/drain"] button', { noWaitAfter: true });
  await product.ended;
  await visit.context.close();
}
