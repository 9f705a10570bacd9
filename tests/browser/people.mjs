// People found, looked at and acted on; the audit trail read, exported and checked.
import { enrol, signIn } from './access.mjs';
import { readFileSync } from 'node:fs';
import { holds, inspect, inspectTwice, opposite, visitor } from './browser.mjs';
import { code, password } from './server.mjs';

export async function peopleAreFound(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'mia');
  await page.goto('/users');
  await inspect(visit, 'users');
  await page.fill('#q', 'ALI');
  await page.press('#q', 'Enter');
  await page.waitForURL(/q=ALI/);
  holds(await page.locator('tr[data-case]').count() === 1, 'alice is found by the beginning of her name');
  await page.locator('tr[data-case] a').first().click();
  await page.waitForURL(/users\/[0-9a-f-]{36}/);
  await inspect(visit, 'user');
  await page.goto('/users?q=nobody-like-that');
  holds(await page.locator('tr[data-case]').count() === 0, 'and nobody else');
  await inspect(visit, 'users-none');
  await page.goto(`/users?q=${'%F0%9F%A6%80'.repeat(300)}`);
  await inspect(visit, 'users-long');
  await visit.context.close();
}

export async function aSuspendedAccountIsReactivated(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'mia');
  await page.goto('/users?q=bob');
  await page.locator('tr[data-case] a').first().click();
  const there = page.url();
  await page.click('a[href^="/moderation/"]:has-text("history")');
  await inspect(visit, 'case-unreported');
  await page.fill('#reason', 'asked for it');
  await page.click('button[value=SUSPEND]');
  for (let n = 0; n < 60; n += 1) {
    await page.goto(there);
    if (/suspended/.test(await page.textContent('dl.facts'))) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  await inspect(visit, 'user-suspended');
  await page.fill('#reason', 'turned \u202e around');
  await page.click('form[action$="/reactivate"] button');
  holds(await page.locator('#reason[aria-invalid]').count() === 1, 'a reason that reads backwards is refused');
  holds((await page.inputValue('#reason')).startsWith('turned'), 'and kept');
  await inspect(visit, 'user-reactivate-wrong');
  await page.fill('#reason', 'a mistake');
  await page.click('form[action$="/reactivate"] button');
  holds(/active/.test(await page.textContent('dl.facts')), 'reactivated');
  await page.click('form[action$="/reset-mail"] button');
  await inspect(visit, 'user-reset-mailed');
  holds(await page.locator('form[action$="/reset-link"]').count() === 0, 'the link itself is for administrators');
  await visit.context.close();
}

export async function theTrailIsReadAndChecked(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'otto');
  await page.goto('/audit');
  await inspect(visit, 'audit');
  await page.fill('#event', 'decision_made');
  await page.press('#event', 'Enter');
  await page.waitForURL(/event=decision_made/i);
  const events = await page.locator('tbody td:nth-child(3)').allTextContents();
  holds(events.every((event) => event === 'DECISION_MADE'), `only what was asked for: ${events.join(' ')}`);
  await page.goto('/audit?user=nobody');
  holds(await page.locator('#user[aria-invalid]').count() === 1, 'a wrong id is said beside the field');
  await inspect(visit, 'audit-wrong');
  await page.goto('/audit');
  await page.click('a[href="/audit/verify"]');
  await page.waitForURL(/verify/);
  holds(await page.locator('main [role=status].card').count() === 1, 'the check has an outcome');
  await inspect(visit, 'audit-verified');
  const answer = await page.context().request.get(`${origin}/audit.csv`);
  const text = await answer.text();
  holds(answer.status() === 200 && text.startsWith('id,at,event') && text.includes('AUDIT_VERIFIED'), 'exported');
  await visit.context.close();
}

export async function notesAreKept(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'mia');
  await page.goto('/users?q=alice@demo');
  await page.locator('tr[data-case] a').first().click();
  const there = page.url();
  await page.fill('#note', `first line\nsecond line, script ${way.script}`);
  await page.click('form[action$="/notes"] button');
  await page.waitForURL(there);
  holds((await page.textContent('.lines')).includes(`script ${way.script}`), 'the newest note stands first');
  await page.fill('#note', 'turned \u202e around');
  await page.click('form[action$="/notes"] button');
  holds(await page.locator('#note[aria-invalid]').count() === 1, 'what reads backwards is refused');
  holds((await page.inputValue('#note')).startsWith('turned'), 'and what was typed is kept');
  await inspect(visit, 'user-notes');
  await visit.context.close();
}

export async function thePeopleOfTheQueueAreSearchedByKey(browser, { origin }) {
  const visit = await visitor(browser, origin, { script: true });
  const { page } = visit;
  await signIn(page, 'mia');
  // Its script has run once this is over.
  await page.goto('/moderation');
  await page.keyboard.press('/');
  await page.keyboard.type('bob@demo');
  await page.keyboard.press('Enter');
  await page.waitForURL(/moderation\?q=/);
  await inspect(visit, 'queue-found');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.waitForURL(/moderation\/[0-9a-f-]{36}/);
  holds((await page.textContent('h1')).includes('bob'), 'the keys lead to the case');
  await visit.context.close();
}

export async function aResetLinkIsShownOnce(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await enrol(page, 'eve');
  await page.goto('/users?q=alice');
  await page.locator('tr[data-case] a').first().click();
  const there = page.url();
  await page.click('form[action$="/reset-link"] button');
  const link = await page.textContent('.secret');
  holds(/reset-password\?token=[0-9a-f]{64}$/.test(link), 'a link is shown');
  await inspect(visit, 'reset-link');
  await page.goto(there);
  holds(await page.locator('.secret').count() === 0, 'and not again');
  const form = await visit.context.request.get(link);
  holds(form.status() === 200, 'it leads to the form that takes a new password');
  await visit.context.close();
}

export async function anErasureNeedsFourEyes(browser, { origin }, way) {
  const first = await visitor(browser, origin, opposite(way));
  await enrol(first.page, 'kim');
  await first.page.goto('/users?q=practice09@');
  await first.page.locator('tr[data-case] a').first().click();
  await first.page.click('a[href$="/erasure"]');
  await inspectTwice(first, 'erasure');
  const there = first.page.url();
  const [copy] = await Promise.all([first.page.waitForEvent('download'), first.page.click('form[action$="/export"] button')]);
  const kept = JSON.parse(readFileSync(await copy.path(), 'utf8'));
  holds(kept.complete && JSON.stringify(kept).includes('practice09@demo.example'), 'the copy is whole');
  await first.page.fill('#reason', 'asked by letter');
  await first.page.click('form[action$="/erasure"] button');
  holds(await first.page.locator('#confirm').count() === 0, 'whoever asked can not agree');
  await inspect(first, 'erasure-asked');
  const second = await visitor(browser, origin, way);
  const { page } = second;
  const secret = await enrol(page, 'lea');
  await page.goto(there);
  await inspectTwice(second, 'erasure-agree');
  const agree = async (address, word, digits) => {
    await page.fill('#confirm', address);
    await page.fill('#password', word);
    await page.fill('#code', digits);
    await page.click('form[action$="/agree"] button');
  };
  await agree('practice08@demo.example', password, '000000');
  holds(await page.locator('#confirm[aria-invalid]').count() === 1, 'another address is refused');
  await agree('practice09@demo.example', 'wrong wrong', '000000');
  holds(await page.locator('#password[aria-invalid]').count() === 1, 'a wrong password is refused');
  await inspect(second, 'erasure-wrong');
  await agree('practice09@demo.example', password, code(secret, 1));
  holds(/erased/.test(await page.textContent('[role=status]')), 'two administrators erase');
  await page.goto('/users?q=practice09@');
  holds(await page.locator('tr[data-case]').count() === 0, 'and nobody finds the account');
  await first.context.close();
  await second.context.close();
}

export async function peopleAndProgramsAreLetIn(browser, { origin, api }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await enrol(page, 'max');
  await page.goto('/registration');
  await page.evaluate(() => document.querySelector('form.narrow').setAttribute('novalidate', ''));
  await page.fill('#email', 'no address');
  await page.click('form.narrow button');
  holds(await page.locator('#email[aria-invalid]').count() === 1, 'what is no address is refused');
  await page.fill('#email', 'new@example.org');
  await page.click('form.narrow button');
  holds(/^[0-9a-f]{64}$/.test(await page.textContent('.secret')), 'the invitation is shown');
  await page.goto('/registration');
  holds(await page.locator('.secret').count() === 0, 'once');
  await inspectTwice(visit, 'registration');
  await page.click('form[action$="/revoke"] button');
  holds((await page.locator('table').last().textContent()).includes('revoked'), 'and it can be revoked');
  await page.goto('/tokens');
  await page.fill('#name', 'ticket desk');
  await page.selectOption('#role', 'MODERATOR');
  await page.click('form.narrow button');
  const token = await page.textContent('.secret');
  await page.goto('/tokens');
  await inspectTwice(visit, 'tokens');
  const search = () => visit.context.request.get(`${api}/admin/users/search?q=alice`, { headers: { authorization: `Bearer ${token}` } });
  holds((await search()).status() === 200, 'a program finds people with it');
  await page.click('form[action$="/revoke"] button');
  holds((await search()).status() === 401, 'until it is revoked');
  await visit.context.close();
}

export async function statisticsAreShownAndDownloaded(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'otto');
  await page.goto('/statistics');
  await inspect(visit, 'statistics');
  holds(/[1-9]/.test(await page.textContent('dl.figures')), 'accounts were counted');
  holds(await page.locator('table').count() === 2, 'and both lists are there');
  const answer = await page.context().request.get(`${origin}/statistics.csv`);
  const lines = (await answer.text()).trim().split('\r\n');
  holds(lines[0] === 'name,user,email,number,counted_at' && lines.some((line) => /^new_users_today,,,[1-9]/.test(line)), 'as CSV');
  await visit.context.close();
}
