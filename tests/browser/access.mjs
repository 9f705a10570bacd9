// Signing in and out, second factors, sessions, language and colours, forged forms.
import { holds, inspect, inspectTwice, visitor } from './browser.mjs';
import { code, password } from './server.mjs';

/** Fills the form of the sign-in page. */
export async function signIn(page, name, word = password) {
  await page.goto('/sign-in');
  await page.fill('#email', `${name}@staff.example`);
  await page.fill('#password', word);
  await page.click('main button');
}

/** An administrator signs in for the first time, which takes a second factor; returns its secret. */
export async function enrol(page, name) {
  await signIn(page, name);
  const own = await page.textContent('.secret');
  await page.fill('#code', code(own));
  await page.click('main button');
  return own;
}

export async function aModeratorComesAndGoes(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await page.goto('/');
  holds(page.url().endsWith('/sign-in'), 'nobody gets in without signing in');
  await inspect(visit, 'sign-in');
  await signIn(page, 'mia', 'wrong wrong wrong');
  holds(await page.locator('#email[aria-invalid]').count() === 1, 'the error is beside the field');
  holds((await page.inputValue('#email')) === 'mia@staff.example', 'what was typed is kept');
  await inspect(visit, 'sign-in-wrong');
  await signIn(page, 'mia');
  await page.goto('/account');
  await inspect(visit, 'account');
  const other = await visitor(browser, origin, way);
  await signIn(other.page, 'mia');
  await page.reload();
  holds(await page.locator('tbody tr').count() >= 2, 'both sessions are listed');
  await page.click('main section:last-of-type > form button');
  holds(await page.locator('tbody tr').count() === 1, 'the other one is ended');
  await other.page.goto('/account');
  holds(other.page.url().endsWith('/sign-in'), 'and it is out');
  await page.click('.viewer button');
  holds(page.url().endsWith('/sign-in'), 'signed out');
  await page.goto('/account');
  holds(page.url().endsWith('/sign-in'), 'and the old cookie is worth nothing');
  await other.context.close();
  await visit.context.close();
}

let secret;
// Kept, for the same step of the clock may be over when it is tried again.
let used;

export async function anAdministratorNeedsASecondFactor(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'ada');
  holds(page.url().endsWith('/sign-in/enrol'), 'the password alone is not enough');
  await page.goto('/account');
  holds(page.url().endsWith('/sign-in'), 'nor does it open anything else');
  await page.goto('/sign-in/enrol');
  await inspect(visit, 'enrol');
  secret = await page.textContent('.secret');
  await page.fill('#code', '000000');
  await page.click('main button');
  holds(await page.locator('#code[aria-invalid]').count() === 1, 'a wrong code is refused');
  holds((await page.textContent('.secret')) === secret, 'and the secret stays');
  // Somebody else who has the password sees another secret, which is worth nothing once this one counts.
  const late = await visitor(browser, origin, way);
  await signIn(late.page, 'ada');
  const shown = await late.page.textContent('.secret');
  holds(shown !== secret, 'each sign-in is shown a secret of its own');
  used = code(secret, -1);
  await page.fill('#code', used);
  await page.click('main button');
  await page.goto('/account');
  holds(page.url().endsWith('/account'), 'a right code opens it');
  await late.page.fill('#code', code(shown));
  await late.page.click('main button');
  holds(/since your sign-in/.test(await late.page.textContent('.said')), 'who comes later is told so');
  await inspectTwice(late, 'factor-overtaken');
  await late.context.close();
  await page.click('.viewer button');
  await visit.context.close();
}

export async function aCodeIsAskedForAndWorksOnce(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'ada');
  holds(page.url().endsWith('/sign-in/code'), 'the code is asked for');
  await inspect(visit, 'code');
  await page.fill('#code', used);
  await page.click('main button');
  holds(await page.locator('#code[aria-invalid]').count() === 1, 'a code that was used is refused');
  await page.fill('#code', code(secret, 0));
  await page.click('main button');
  await page.goto('/account');
  holds(page.url().endsWith('/account'), 'the next one is right');
  await visit.context.close();
}

export async function languageAndColoursAreChosen(browser, { origin }, way) {
  const visit = await visitor(browser, origin, { ...way, language: 'fr-FR', theme: 'light' });
  const { page } = visit;
  await page.goto('/sign-in');
  holds((await page.getAttribute('html', 'lang')) === 'fr', 'the browser is asked first');
  await page.selectOption('select[name=language]', 'en');
  await page.selectOption('select[name=theme]', 'dark');
  await page.click('footer button');
  holds((await page.getAttribute('html', 'lang')) === 'en', 'the choice goes first');
  const paper = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  holds(paper === 'rgb(20, 23, 28)', `dark was chosen, not ${paper}`);
  await inspect(visit, 'preferences');
  await visit.context.close();
}

export async function foreignFormsAreRefused(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  await signIn(page, 'mia');
  await page.goto('/account');
  const token = await page.inputValue('.viewer input[name=csrf]');
  const send = (headers, body) => page.context().request.post(`${origin}/sign-out`, {
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    data: body,
    maxRedirects: 0,
  });
  const own = { origin, 'sec-fetch-site': 'same-origin' };
  const refused = [
    await send(own, ''),
    await send(own, `csrf=${token.replace(/./g, '0')}`),
    await send({ origin, 'sec-fetch-site': 'same-site' }, `csrf=${token}`),
    await send({ origin: 'http://elsewhere.example' }, `csrf=${token}`),
    await send({}, `csrf=${token}`),
  ];
  const kinds = refused.map((answer) => answer.status()).join(' ');
  holds(kinds === '403 403 403 403 403', `foreign forms got ${kinds}`);
  await page.reload();
  holds(page.url().endsWith('/account'), 'and nothing happened');
  holds((await send(own, `csrf=${token}`)).status() === 303, 'the own one is taken');
  const headers = (await page.goto('/nothing-here')).headers();
  await inspect(visit, 'not-found');
  const policy = headers['content-security-policy'];
  holds(/script-src 'nonce-[^']+'; style-src 'self'/.test(policy) && !policy.includes('unsafe'), policy);
  await visit.context.close();
}

export async function failuresLockOut(browser, { origin }, way) {
  const visit = await visitor(browser, origin, way);
  const { page } = visit;
  for (let n = 0; n < 5; n += 1) await signIn(page, 'nobody', 'wrong wrong wrong');
  const answer = await page.textContent('#email-error');
  holds(/30 s/.test(answer), `locked, not: ${answer}`);
  await inspect(visit, 'locked');
  await visit.context.close();
}

/** A security key in this browser. Chromium answers for it as if somebody touched it at once. */
async function virtualKey(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  const options = { protocol: 'ctap2', transport: 'usb', automaticPresenceSimulation: true };
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', { options });
  const kept = async () => (await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials;
  return { kept };
}

export async function aSecurityKeyIsAddedUsedAndRemoved(browser, { origin }) {
  const elsewhere = await visitor(browser, origin, { script: true });
  await signIn(elsewhere.page, 'zoe');
  holds(/localhost/.test(await elsewhere.page.textContent('[data-key-part] [role=status]')), 'by number there are no keys');
  holds(!(await elsewhere.page.isVisible('[data-key-part] button')), 'and no button for one');
  await elsewhere.context.close();
  const visit = await visitor(browser, origin.replace('127.0.0.1', 'localhost'), { script: true });
  const { page } = visit;
  const key = await virtualKey(page);
  await signIn(page, 'zoe');
  await inspectTwice(visit, 'enrol-key');
  await page.click('[data-key-part=ADD] button');
  await page.waitForSelector('#name[aria-invalid]');
  holds((await key.kept()).length === 0, 'a key has a name: none is made in vain');
  await page.fill('#name', 'blue');
  await page.click('[data-key-part=ADD] button');
  await page.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
  await page.goto('/account');
  holds((await page.textContent('#keys tbody')).includes('blue'), 'it is listed');
  await inspectTwice(visit, 'account-keys');
  await page.click('.viewer button');
  await signIn(page, 'zoe');
  holds(page.url().endsWith('/sign-in/code'), 'the key is asked for');
  await inspectTwice(visit, 'code-key');
  const sent = page.waitForRequest((one) => one.method() === 'POST' && one.url().endsWith('/sign-in/code'));
  await page.click('[data-key-part=PROVE] button');
  const answer = new URLSearchParams((await sent).postData()).get('key');
  await page.waitForURL((url) => url.pathname !== '/sign-in/code');
  await page.goto('/account');
  holds(page.url().endsWith('/account'), 'signed in by it');
  await page.click('.viewer button');
  await signIn(page, 'zoe');
  await page.evaluate((key) => {
    const form = document.querySelector('[data-key-part=PROVE]').closest('form');
    form.elements.key.value = key;
    form.requestSubmit();
  }, answer);
  await page.waitForSelector('p.error');
  holds(/did not answer/.test(await page.textContent('p.error')), 'an answer is worth something once');
  await inspect(visit, 'key-replayed');
  await page.click('[data-key-part=PROVE] button');
  await page.waitForURL((url) => url.pathname !== '/sign-in/code');
  await page.goto('/account');
  await page.click('#keys tbody a');
  await page.fill('#password', password);
  await page.click('[data-key-part=PROVE] button');
  await page.waitForSelector('p.error');
  holds(/only second factor/.test(await page.textContent('p.error')), 'the last one stays');
  await inspect(visit, 'key-last');
  await page.goto('/account/second-factor');
  const codes = await page.textContent('.secret');
  await page.fill('#code', code(codes, -1));
  await page.fill('#password', password);
  await inspect(visit, 'codes-beside-a-key');
  await page.click('[data-key-part=PROVE] button');
  await page.waitForURL((url) => url.pathname !== '/account/second-factor');
  await page.goto('/account/keys');
  await inspectTwice(visit, 'key-add');
  await page.goto('/account');
  await page.click('#keys tbody a');
  await inspectTwice(visit, 'key-remove');
  await page.fill('#password', password);
  await page.fill('#code', code(codes, 0));
  await page.click('button.bad');
  holds(/removed/.test(await page.textContent('.said')), 'with a code it goes');
  holds(await page.locator('#keys tbody').count() === 0, 'and is gone');
  await visit.context.close();
}

export async function withoutAScriptACodeDoes(browser, { origin }) {
  const visit = await visitor(browser, origin.replace('127.0.0.1', 'localhost'), { script: false });
  await signIn(visit.page, 'ned');
  await visit.page.goto('/account/keys');
  holds(/JavaScript/.test(await visit.page.textContent('main')), 'it says what a key needs');
  await inspect(visit, 'key-add');
  await visit.context.close();
}

/** What letters lead to, and what describes the API: drawn by it, not by the console. */
export async function pagesOfTheApiAreLookedAt(browser, { api }, way) {
  const visit = await visitor(browser, api, way);
  const { page } = visit;
  for (const name of ['reset-password', 'verify-mail']) {
    await page.goto(`/${name}?token=${'0'.repeat(64)}`);
    await inspect(visit, name);
    if (name === 'reset-password') await page.fill('#password', 'another horse battery');
    await page.click('button');
    holds(await page.locator('[role=alert]').count() === 1, 'a link that is none is refused');
    await inspect(visit, `${name}-wrong`);
  }
  await page.goto(`/reset-password?token=${'0'.repeat(64)}`);
  await page.evaluate(() => document.querySelector('form').setAttribute('novalidate', ''));
  await page.fill('#password', 'short');
  await page.click('button');
  await inspect(visit, 'reset-password-weak');
  await page.goto('/api/docs');
  await inspect(visit, 'api-docs');
  await visit.context.close();
}
