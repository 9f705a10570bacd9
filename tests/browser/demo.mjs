// What `up --demo` is for: a moderator clears ten cards with the keyboard alone, and no room of the console is empty.
import { readFileSync } from 'node:fs';
import { holds, inspect, visitor } from './browser.mjs';
import { tabTo } from './keyboard.mjs';
import { code, start } from './server.mjs';

/** Cards to clear. */
const cards = 10;

/** What a room says when it has nothing to show. */
const nothing = [
  'Nothing here.', 'Nobody was found.', 'No entry fits.', 'No node was heard of.', 'No backup was made yet.',
  'Nobody waits to be let in.', 'Nobody was invited yet.', 'No program has a token.', 'Nothing was counted yet.',
  'No address is banned.', 'There are no figures yet.',
];

async function enter(page, { email, password_file: file }) {
  await page.goto('/sign-in');
  await tabTo(page.locator('#email').first());
  await page.keyboard.type(email);
  await tabTo(page.locator('#password').first());
  await page.keyboard.type(readFileSync(file, 'utf8').trim());
  await page.keyboard.press('Enter');
}

/** Ten cards by tab and enter, or by the keys of the script; never a mouse. */
export async function tenCardsAreClearedByKeyboard(browser, way) {
  const product = await start([]);
  const visit = await visitor(browser, product.origin, way);
  const { page } = visit;
  await enter(page, product.ready.demo.moderator);
  await page.waitForURL(/moderation/);
  await inspect(visit, 'demo-queue');
  for (let n = 0; n < cards; n += 1) {
    const left = await page.locator('tr[data-case]').count();
    if (way.script) {
      await page.keyboard.press('j');
    } else {
      await tabTo(page.locator('tr[data-case] a').first());
    }
    await page.keyboard.press('Enter');
    await page.waitForURL(/moderation\/[0-9a-f-]{36}/);
    const measure = [['w', 'WARN'], ['s', 'SUSPEND'], ['d', 'DISMISS'], ['m', 'MUTE']][n % 4];
    if (way.script) {
      await page.keyboard.press(measure[0]);
    } else {
      await tabTo(page.locator(`#decide button[value=${measure[1]}]`).first());
      await page.keyboard.press('Enter');
    }
    await page.waitForURL(/undo=/);
    // The appeal of the demo may have come in meanwhile.
    const now = await page.locator('tr[data-case]').count();
    holds(now === left - 1 || now === left, `one card less: ${left}, then ${now}`);
  }
  await inspect(visit, 'demo-cleared');
  await visit.context.close();
  await product.stop();
}

/** Every room, as the administrator of the demo sees it. */
export async function noRoomIsEmpty(browser, way) {
  const product = await start([]);
  const visit = await visitor(browser, product.origin, way);
  const { page } = visit;
  await enter(page, product.ready.demo.staff[2]);
  await page.waitForURL(/enrol/);
  await page.fill('#code', code(await page.textContent('.secret')));
  await page.keyboard.press('Enter');
  await page.waitForURL(/moderation|overview/);
  const rooms = [
    '/overview', '/moderation', '/moderation/addresses', '/users', '/registration', '/staff', '/statistics', '/audit',
    '/metrics', '/nodes', '/backups', '/settings', '/settings/content', '/tokens', '/account',
  ];
  for (const room of rooms) {
    // Nodes are asked for figures every ten seconds, and the first backup takes a moment.
    for (let n = 0; ; n += 1) {
      await page.goto(room);
      const text = await page.textContent('main');
      const said = nothing.filter((words) => text.includes(words));
      if (!said.length) break;
      holds(n < 80, `${room} has nothing but: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    await inspect(visit, `demo${room.replaceAll('/', '-')}`);
  }
  for (const sign of ['form[action$="/agree"]', '[data-appeal]']) {
    let there = false;
    for (let n = 0; n < 80 && !there; n += 1) {
      await page.goto(sign.startsWith('form') ? '/moderation' : '/moderation?q=practice12@');
      if (!sign.startsWith('form')) await page.locator('tr[data-case] a').first().click();
      there = await page.locator(sign).count() > 0;
      if (!there) await new Promise((resolve) => setTimeout(resolve, 250));
    }
    holds(there, `${sign} is there`);
  }
  await inspect(visit, 'demo-appeal');
  await visit.context.close();
  await product.stop();
}

/** Answers what the demo left open, so that the queue holds its ten cases and nothing else. */
export async function openEndsAreTied(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  const { signIn } = await import('./access.mjs');
  await signIn(page, 'tom');
  await inspect(visit, 'demo-waiting');
  await page.click('form[action$="/refuse"] button');
  holds(await page.locator('form[action$="/refuse"]').count() === 0, 'the ban is refused');
  for (let n = 0; n < 120 && !(await page.locator('tr:has-text("practice 12")').count()); n += 1) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    await page.goto('/moderation');
  }
  await page.click('tr:has-text("practice 12") a');
  await page.fill('input[name=answer]', 'It stands.');
  await page.click('button[name=grants][value=no]');
  await page.goto('/moderation/addresses');
  await page.click('form[action$="/withdraw"] button');
  await page.click('td details summary');
  await page.fill('td details input[name=reason]', 'turned \u202e around');
  await page.click('td details button');
  holds(await page.locator('td details[open] input[aria-invalid]').count() === 1, 'the reason is refused beside its field');
  holds((await page.inputValue('td details input[name=reason]')).startsWith('turned'), 'and kept');
  await inspect(visit, 'address-lift-wrong');
  await page.fill('td details input[name=reason]', 'theirs again');
  await page.click('td details button');
  await visit.context.close();
}
