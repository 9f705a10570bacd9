// The queue and its cases: reports grouped, evidence folded, decisions with ten seconds to undo, four eyes for a ban.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { signIn } from './access.mjs';
import { holds, inspect, inspectTwice, opposite, visitor } from './browser.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until something holds, for what happens behind the page. */
export async function until(sentence, check) {
  for (let n = 0; n < 100; n += 1) {
    if (await check()) return;
    await pause(250);
  }
  throw new Error(`it did not happen: ${sentence}`);
}

const open = (page) => page.locator('tr[data-case]').count();

export async function theQueueIsReadInEveryWay(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'mia');
  holds(page.url().endsWith('/moderation'), 'moderators are led to the queue');
  await inspect(visit, 'queue');
  await page.locator('tr[data-case] a').first().click();
  holds(!(await page.locator('.evidence blockquote').first().isVisible()), 'evidence is folded');
  await inspect(visit, 'case');
  await page.locator('.evidence summary').first().click();
  holds(await page.locator('.evidence blockquote').first().isVisible(), 'and opens when asked');
  await inspect(visit, 'case-evidence');
  for (const state of ['mine', 'decided', 'resolved']) {
    await page.goto(`/moderation?state=${state}`);
    await inspect(visit, `queue-${state}`);
  }
  await visit.context.close();
}

export async function aDecisionIsUndone(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'mia');
  const before = await open(page);
  await page.locator('tr[data-case] a').first().click();
  const there = page.url();
  await page.click('button[value=SUSPEND]');
  holds(page.url().includes('/moderation?undo='), 'it is kept for ten seconds');
  // Ten seconds are short on a busy machine; without a script it is looked at where nothing is undone.
  if (way.script) await inspect(visit, 'undo');
  holds(await open(page) === before - 1, 'the case is not offered meanwhile');
  if (way.script) await page.keyboard.press('u');
  else await page.click('[data-undo] button');
  await page.waitForURL(there);
  await inspect(visit, 'undone');
  holds(/active|actif/.test(await page.textContent('dl.facts')), 'nothing has happened');
  await page.goto('/moderation');
  holds(await open(page) === before, 'and the case is back');
  await visit.context.close();
}

export async function badInputIsSaidBesideTheForm(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'mia');
  await page.locator('tr[data-case] a').first().click();
  await page.fill('#days', '31');
  await page.fill('#reason', 'kept words');
  await page.fill('#notice', 'kept notice');
  await page.uncheck('[name=notify]');
  await page.check('[name=also-warn]');
  await page.evaluate(() => document.querySelector('#decide').setAttribute('novalidate', ''));
  await page.click('button[value=SUSPEND]');
  holds(await page.locator('#days[aria-invalid]').count() === 1, 'the days are wrong');
  holds((await page.textContent('#days-error')).includes('7 to 30'), 'which is said beside them');
  holds((await page.inputValue('#reason')) === 'kept words', 'what was typed is kept');
  holds((await page.inputValue('#notice')) === 'kept notice', 'in every field');
  holds(!(await page.isChecked('[name=notify]')) && (await page.isChecked('[name=also-warn]')), 'and what was ticked');
  await inspect(visit, 'case-wrong');
  await page.fill('#reason', 'turned \u202e around');
  await page.fill('#days', '7');
  await page.click('button[value=SUSPEND]');
  holds(await page.locator('#reason[aria-invalid]').count() === 1, 'a reason that reads backwards is refused');
  await visit.context.close();
}

export async function twoModeratorsAreOnOneCard(browser, { origin }, way) {
  const [first, second] = [await visitor(browser, origin, way), await visitor(browser, origin, way)];
  await signIn(first.page, 'mia');
  await signIn(second.page, 'tom');
  await first.page.locator('tr[data-case] a').first().click();
  await second.page.goto(first.page.url());
  await first.page.click('form[action$="/claim"] button');
  await inspect(first, 'claimed');
  await second.page.click('button[value=WARN]');
  holds(/faster/.test(await second.page.textContent('[role=status]')), 'the second one is told');
  await inspect(second, 'overtaken');
  await first.page.click('form[action$="/release"] button');
  await first.context.close();
  await second.context.close();
}

export async function aBanNeedsFourEyesAndIsReversed(browser, { origin }, way) {
  const [first, second] = [await visitor(browser, origin, way), await visitor(browser, origin, opposite(way))];
  await signIn(first.page, 'mia');
  await first.page.locator('tr[data-case] a').first().click();
  const there = first.page.url();
  await first.page.click('button[value=BAN]');
  await inspect(first, 'ban-waits');
  holds(await first.page.locator('form[action$="/agree"]').count() === 0, 'not the same eyes');
  await signIn(second.page, 'tom');
  await inspect(second, 'ban-asked');
  await second.page.click('form[action$="/agree"] button');
  await inspect(second, 'ban-agreed');
  await until('the ban', async () => {
    await first.page.goto(there);
    return /banned/.test(await first.page.textContent('dl.facts'));
  });
  await inspect(first, 'banned');
  await first.page.click('td details summary');
  await first.page.fill('td details input[name=reason]', 'turned \u202e around');
  await first.page.click('td details button');
  holds(await first.page.locator('td details[open] input[aria-invalid]').count() === 1, 'a wrong reason is refused beside it');
  holds((await first.page.inputValue('td details input[name=reason]')).startsWith('turned'), 'and kept');
  await inspect(first, 'reverse-wrong');
  await first.page.fill('td details input[name=reason]', 'it was somebody else');
  await first.page.click('td details button');
  holds(/active/.test(await first.page.textContent('dl.facts')), 'reversed');
  await inspect(first, 'reversed');
  await first.context.close();
  await second.context.close();
}

export async function aSuspensionReachesTheAccountByMail(browser, { origin, data }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'mia');
  await page.locator('tr[data-case] a').first().click();
  const there = page.url();
  await page.fill('#notice', 'Please read the rules.');
  await page.check('[name=also-warn]');
  await page.click('button[value=SUSPEND]');
  await inspect(visit, 'decided');
  await until('the suspension', async () => {
    await page.goto(there);
    return /suspended/.test(await page.textContent('dl.facts'));
  });
  await inspect(visit, 'suspended');
  const folder = path.join(data, 'mail');
  await until('the letter', () => readdirSync(folder).some((file) => {
    const letter = readFileSync(path.join(folder, file), 'utf8');
    return letter.includes('Please read the rules.') && /Moderator M-[0-9A-F]{6}/.test(letter) && !letter.includes('mia');
  }));
  await visit.context.close();
}

/** The rest of the queue, without touching the mouse. */
export async function theQueueIsClearedByKeyboard(browser, { origin }) {
  const visit = await visitor(browser, origin, { script: true });
  const { page } = visit;
  await signIn(page, 'mia');
  await page.keyboard.press('?');
  await inspect(visit, 'keys');
  await page.keyboard.press('?');
  const count = await open(page);
  holds(count >= 7, `there are cases to clear, not ${count}`);
  for (let n = 0; n < count; n += 1) {
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.waitForURL(/moderation\/[0-9a-f-]{36}/);
    await page.keyboard.press(['w', 's', 'd'][n % 3]);
    await page.waitForURL(/undo=/);
  }
  holds(await open(page) === 0, 'nothing is open');
  await inspect(visit, 'cleared');
  await until('every decision takes effect', async () => {
    await page.goto('/moderation?state=resolved');
    return await open(page) >= count;
  });
  await inspect(visit, 'resolved');
  await visit.context.close();
}

/** Shortcuts are nobody's letters: they are left alone in fields, and with a modifier. */
export async function shortcutsLeaveTypingAlone(browser, { origin }) {
  const visit = await visitor(browser, origin, { script: true });
  const { page } = visit;
  await signIn(page, 'mia');
  await page.goto('/moderation');
  await page.keyboard.press('/');
  await page.keyboard.type('jk?u');
  holds((await page.inputValue('[data-search]')) === 'jk?u', 'letters go into the search');
  holds(await page.locator('tr.chosen').count() === 0 && !(await page.locator('#keys').getAttribute('open')), 'and do nothing else');
  await page.goto('/moderation');
  for (const modifier of ['Control', 'Alt', 'Meta']) await page.keyboard.press(`${modifier}+j`);
  holds(await page.locator('tr.chosen').count() === 0, 'with a modifier they are the browser\'s');
  await page.keyboard.press('j');
  holds(await page.locator('tr.chosen').count() === 1, 'alone they are ours');
  await page.keyboard.press('Enter');
  await page.waitForURL(/moderation\/[0-9a-f-]{36}$/);
  const there = page.url();
  await page.fill('#reason', '');
  await page.focus('#reason');
  await page.keyboard.type('wsbdm');
  holds((await page.inputValue('#reason')) === 'wsbdm', 'letters go into the reason');
  await page.focus('#notice');
  await page.keyboard.type('wsbdm');
  holds((await page.inputValue('#notice')) === 'wsbdm', 'and into the notice');
  await page.focus('#template');
  for (const key of ['w', 's', 'd', 'm']) await page.keyboard.press(key);
  await page.locator('h1').click();
  for (const modifier of ['Control', 'Alt', 'Meta']) {
    for (const key of ['b', 'd', 'm']) await page.keyboard.press(`${modifier}+${key}`);
  }
  await pause(500);
  holds(page.url() === there, 'and nothing was decided');
  await page.keyboard.press('w');
  await page.waitForURL(/undo=/);
  await page.keyboard.press('u');
  await page.waitForURL(there);
  await visit.context.close();
}

export async function othersOnlySeeWhatIsTheirs(browser, { origin }, way) {
  const auditor = await visitor(browser, origin, way);
  await signIn(auditor.page, 'otto');
  await auditor.page.locator('tr[data-case] a').first().click();
  holds(await auditor.page.locator('#decide, .evidence, form[action$="/claim"]').count() === 0, 'auditors read only');
  await inspect(auditor, 'case-auditor');
  const engineer = await visitor(browser, origin, way);
  await signIn(engineer.page, 'sue');
  holds(engineer.page.url().endsWith('/overview'), 'engineers are led to what they run');
  holds(await engineer.page.locator('a[href="/moderation"]').count() === 0, 'and have no queue');
  const answer = await engineer.page.goto('/moderation');
  holds(answer.status() === 403, `forbidden, not ${answer.status()}`);
  await inspect(engineer, 'forbidden');
  await auditor.context.close();
  await engineer.context.close();
}

export async function aBlockOfAddressesIsBannedByTwo(browser, { origin }, way) {
  const [first, second] = [await visitor(browser, origin, opposite(way)), await visitor(browser, origin, way)];
  const { page } = first;
  await signIn(page, 'mia');
  await page.click('a[href="/moderation/addresses"]');
  await inspect(first, 'addresses-none');
  const ask = async (network) => {
    await page.fill('#network', network);
    await page.fill('#reason', 'a botnet');
    await page.click('#ask button');
  };
  for (const wrong of ['somewhere', '203.0.113.9/24', '127.0.0.0/8', '224.0.0.0/4']) {
    await ask(wrong);
    holds(await page.locator('#network[aria-invalid]').count() === 1, `${wrong} is refused`);
    holds((await page.inputValue('#network')) === wrong, 'and kept');
  }
  await inspect(first, 'addresses-wrong');
  await ask('203.0.113.0/24');
  holds(await page.locator('form[action$="/agree"]').count() === 0, 'whoever asked can not agree');
  await signIn(second.page, 'tom');
  await second.page.goto('/moderation/addresses');
  await inspectTwice(second, 'addresses-asked');
  await second.page.click('form[action$="/agree"] button');
  holds((await second.page.textContent('tbody')).includes('203.0.113.0/24'), 'it is banned');
  await inspectTwice(second, 'addresses');
  await second.page.click('td details summary');
  await second.page.fill('td details input[name=reason]', 'theirs again');
  await second.page.click('td details button');
  holds(await second.page.locator('tbody').count() === 0, 'and lifted');
  for (const { context } of [first, second]) await context.close();
}
