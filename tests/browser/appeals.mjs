// Appeals: a letter answered by whoever got it, and the answer judged by somebody else.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { signIn } from './access.mjs';
import { holds, inspect, opposite, visitor } from './browser.mjs';
import { until } from './moderation.mjs';

/** Every letter, as it reads. */
const letters = (data) => {
  const folder = path.join(data, 'mail');
  const plain = (file) => readFileSync(path.join(folder, file), 'utf8').replace(/=\r?\n/g, '').replace(/=3D/g, '=');
  return readdirSync(folder).map(plain);
};

export async function anAppealIsAnsweredBySomebodyElse(browser, { origin, api, data }, way) {
  const [first, second] = [await visitor(browser, origin, opposite(way)), await visitor(browser, origin, way)];
  const words = 'Please read rule 1.';
  await signIn(first.page, 'mia');
  await first.page.goto('/moderation?q=practice01@');
  await first.page.locator('tr[data-case] a').first().click();
  const there = first.page.url();
  await first.page.fill('#reason', 'rules');
  await first.page.fill('#notice', words);
  await first.page.click('button[value=WARN]');
  await until('the letter', () => letters(data).some((letter) => letter.includes(words)));
  const [, token] = /appeal\?token=([0-9a-f]{96})/.exec(letters(data).find((letter) => letter.includes(words)));
  await answerTheLetter(browser, api, token, words, way);
  await first.page.goto(there);
  holds(await first.page.locator('[data-appeal] form, #decide').count() === 0, 'whoever decided only looks on');
  await inspect(first, 'appeal-own');
  await signIn(second.page, 'tom');
  await second.page.click('tr:has-text("practice 01") a');
  holds((await second.page.textContent('[data-appeal]')).includes('It was a joke.'), 'the card is back');
  await second.page.evaluate(() => document.querySelector('[data-appeal] form').setAttribute('novalidate', ''));
  await second.page.click('button[name=grants][value=no]');
  holds(await second.page.locator('input[name=answer][aria-invalid]').count() === 1, 'an answer has words');
  await inspect(second, 'appeal-wrong');
  await second.page.fill('input[name=answer]', 'We looked again.');
  await second.page.click(`button[name=grants][value=${way.script ? 'yes' : 'no'}]`);
  holds(/Answered/.test(await second.page.textContent('[role=status]')), 'answered');
  holds(/resolved/.test(await second.page.textContent('main .badge')), 'nothing is open any more');
  await inspect(second, 'appeal-answered');
  const told = way.script ? ['was reversed: it no longer stands.', 'We looked again.'] : ['the decision stands.', 'We looked again.'];
  await until('the answer', () => letters(data).some((letter) => told.every((part) => letter.includes(part))));
  await first.context.close();
  await second.context.close();
}

/** What somebody does with the link of a letter, without signing in. */
async function answerTheLetter(browser, api, token, words, way) {
  const visit = await visitor(browser, api, { ...way, language: 'fr-FR' });
  const { page } = visit;
  await page.goto(`/appeal?token=${token}`);
  holds((await page.textContent('blockquote')).includes(words), 'the notice stands there');
  await inspect(visit, 'appeal-form');
  await page.evaluate(() => document.querySelector('form').setAttribute('novalidate', ''));
  await page.click('button');
  holds(await page.locator('textarea[aria-invalid]').count() === 1, 'an answer has words');
  await inspect(visit, 'appeal-form-wrong');
  await page.fill('#text', 'It was a joke.');
  await page.click('button');
  holds(/envoyée/.test(await page.textContent('[role=status]')), 'it is said that it was sent');
  await inspect(visit, 'appeal-sent');
  await visit.context.close();
}
