// How the product runs: overview, figures, nodes, backups, settings.
import { enrol, signIn } from './access.mjs';
import { holds, inspect, inspectTwice, visitor } from './browser.mjs';
import { code, password } from './server.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Loads the page until there are figures of messages: the nodes are asked every five seconds, and what was said before the first look is nobody's. */
async function figures(page, product) {
  for (let n = 0; n < 80; n += 1) {
    if (n % 12 === 0) product.say(5);
    await page.goto('/metrics');
    const counted = await page.locator('#metrics-latency ~ .table tbody tr').nth(3).locator('td', { hasText: /\d/ }).count();
    if (counted > 0 && await page.locator('.heat svg rect').count() > 0) return;
    await pause(500);
  }
  throw new Error('no figures came');
}

/** The heatmap follows what comes, until somebody presses pause. */
async function itIsFollowed(page) {
  const graph = page.locator('[data-live][data-columns]');
  await graph.waitFor();
  holds(Number(await graph.getAttribute('data-columns')) > 0, 'the last minutes come first');
  const newest = () => graph.locator('tbody tr th').first().textContent();
  const before = await newest();
  for (let n = 0; n < 40 && (await newest()) === before; n += 1) await pause(500);
  holds((await newest()) > before, 'and newer ones as they come');
  holds((await page.textContent('.heat figcaption')).match(/live|direct/), 'it says that it is live');
  await graph.locator('button.live').click();
  holds(await graph.locator('button.live').getAttribute('aria-pressed') === 'false', 'it can be stopped');
}

/** A number is taken by pointing at it, a table by keyboard. */
async function numbersAreCopied(visit) {
  const { page, context } = visit;
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const cell = page.locator('section table td.number').first();
  const number = (await cell.textContent()).trim();
  await cell.hover();
  await cell.locator('button.copy').click();
  holds(await page.evaluate(() => navigator.clipboard.readText()) === number, 'the number is in the clipboard');
  await page.locator('.copies button').first().focus();
  await page.keyboard.press('Enter');
  const table = await page.evaluate(() => navigator.clipboard.readText());
  holds(table.split('\n').length > 8 && table.includes(`\t${number}\t`), 'and so is the table');
  holds((await page.locator('.heard').textContent()) !== '', 'which is said');
}

export async function theProductIsLookedAt(browser, product, way) {
  const visit = await visitor(browser, product.origin, way);
  const { page } = visit;
  await signIn(page, 'sue');
  holds(page.url().endsWith('/overview'), 'who runs the product is led to the overview');
  await figures(page, product);
  await inspect(visit, 'metrics');
  if (way.script) await itIsFollowed(page);
  if (way.script) await numbersAreCopied(visit);
  await page.locator('details summary').first().click();
  holds(await page.locator('details tbody tr').first().isVisible(), 'every chart has its table');
  const charts = await page.locator('.chart').count();
  holds(charts >= 8 && await page.locator('.chart + details, .chart + button + details').count() === charts, 'each of them');
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

export async function figuresAreDownloaded(browser, product, way) {
  const visit = await visitor(browser, product.origin, way);
  const { page } = visit;
  await signIn(page, 'otto');
  await figures(page, product);
  const read = async (path) => (await page.context().request.get(`${product.origin}${path}`)).text();
  const csv = (await read('/metrics.csv')).trim().split('\r\n');
  holds(csv[0].startsWith('began_at,length_ms,append_p50') && csv.length > 1, 'as CSV');
  holds(csv.every((line) => line.split(',').length === csv[0].split(',').length), 'with every column in every line');
  const log = await read('/metrics.hlog');
  holds(log.startsWith('#[Histogram log format version 1.3]'), 'as HDR log');
  const links = await page.locator('.files a').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
  holds(links.length > await page.locator('.graphs .chart').count(), 'every chart has its files');
  for (const link of links) {
    const lines = (await read(link)).trim().split('\n');
    holds(lines.length > 1 && lines[0].length > 0, `${link} holds something`);
  }
  await visit.context.close();
}

export async function aSettingIsChanged(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
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

export async function mailIsSet(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  const own = await enrol(page, 'kay');
  await page.goto('/settings');
  await page.click('a[href="/settings/mail"]');
  await inspectTwice(visit, 'mail');
  await page.fill('#mail-host', 'localhost');
  await page.fill('#mail-port', '70000');
  await page.click('form[action="/settings/mail"] button.main');
  holds(await page.locator('#mail-port[aria-invalid]').count() === 1, 'what is no port is said beside it');
  holds((await page.inputValue('#mail-host')) === 'localhost', 'and what was typed stays');
  await inspect(visit, 'mail-wrong');
  await page.fill('#mail-port', '1');
  await page.fill('#password', password);
  await page.fill('#code', code(own, 1));
  await page.click('form[action="/settings/mail"] button.main');
  holds((await page.inputValue('#mail-port')) === '1', 'kept');
  await page.click('form[action="/settings/mail/trial"] button');
  holds(/did not take the letter/.test(await page.textContent('p.error')), 'nobody is there');
  await inspect(visit, 'mail-trial');
  await page.goto('/audit?event=SETTING_CHANGED');
  holds((await page.textContent('tbody')).includes('mail-host: (default) -> localhost'), 'the trail tells');
  await visit.context.close();
}

export async function contentRulesAreKept(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
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

export async function aBackupIsAskedFor(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'sue');
  const asked = page.locator('table', { hasText: 'Asked for here' }).locator('tbody tr').first();
  for (const [button, kind] of [['run', 'backup'], ['drill', 'restore drill']]) {
    await page.goto('/backups');
    await page.click(`form[action="/backups/${button}"] button`);
    holds(/Asked for/.test(await page.textContent('.said')), 'it is said');
    holds((await asked.textContent()).includes(kind), 'and listed');
    for (let n = 0; n < 80 && !(await asked.textContent()).includes('done'); n += 1) {
      await pause(500);
      await page.reload();
    }
    holds((await asked.textContent()).includes('done'), `the ${kind} is done by whoever makes backups`);
  }
  await inspectTwice(visit, 'backups-asked');
  const list = page.locator('table', { hasText: 'Attempts' });
  holds((await list.textContent()).includes('by hand'), 'there is a backup by hand');
  holds(!/never/.test(await page.textContent('dl.figures')), 'and one was proven');
  await visit.context.close();
}

export async function aNodeIsDrained(browser, { origin, ended }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'sue');
  await page.goto('/nodes');
  await page.locator('tbody details summary').first().click();
  await inspect(visit, 'node-drain');
  // The console belongs to the same program: whether it still answers the redirect is a matter of luck, that it ends is not.
  await page.click('form[action$="/drain"] button', { noWaitAfter: true });
  const late = pause(60000).then(() => 'late');
  holds((await Promise.race([ended, late])) !== 'late', 'the product ends within a minute');
  await visit.context.close();
}
