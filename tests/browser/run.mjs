// Runs every flow, each in the ways that matter to it, and says what was seen.
import * as access from './access.mjs';
import { inspected, launch } from './browser.mjs';
import * as demo from './demo.mjs';
import * as moderation from './moderation.mjs';
import * as operation from './operation.mjs';
import * as people from './people.mjs';
import { start } from './server.mjs';

const ways = [
  { script: true, language: 'en', theme: 'light' },
  { script: false, language: 'fr-FR', theme: 'dark' },
  { script: true, language: 'fr-FR', theme: 'light', phone: true },
  { script: false, language: 'en', theme: 'dark', phone: true },
];

const staff = { MODERATOR: ['mia', 'tom', 'ned', 'rob'], ADMIN: ['ada', 'eve', 'ivy', 'kim', 'lea', 'max', 'nia', 'pia', 'joe', 'zoe', 'kay', 'uma', 'vic'], AUDITOR: ['otto'], SRE: ['sue'] };
const product = await start(Object.entries(staff).flatMap(([role, names]) => names.map((name) => [name, role])));
const browser = await launch();
const { origin } = product;
let failed = 0;

async function flow(name, run) {
  const began = Date.now();
  try {
    await run();
    console.log(`ok    ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    console.error(`FAIL  ${name}\n${error.stack}`);
  }
}

const named = (way) => [way.language, way.theme, way.phone ? 'phone' : 'wide', way.script ? 'js' : 'no js'].join(' ');
const wanted = process.argv[2] ?? '';

for (const way of ways) {
  if ('access'.includes(wanted)) {
    await flow(`a moderator comes and goes: ${named(way)}`, () => access.aModeratorComesAndGoes(browser, origin, way));
  }
}
if ('access'.includes(wanted)) {
  await flow('an administrator needs a second factor', () => access.anAdministratorNeedsASecondFactor(browser, origin));
  await flow('a code is asked for and works once', () => access.aCodeIsAskedForAndWorksOnce(browser, origin, ways[0]));
  for (const script of [true, false]) {
    await flow(`language and colours are chosen: script ${script}`, () => access.languageAndColoursAreChosen(browser, origin, script));
  }
  await flow('foreign forms are refused', () => access.foreignFormsAreRefused(browser, origin));
  await flow('a security key is added, used and removed', () => access.aSecurityKeyIsAddedUsedAndRemoved(browser, origin));
  await flow('without a script a code does', () => access.withoutAScriptACodeDoes(browser, origin));
  await flow('failures lock out', () => access.failuresLockOut(browser, origin));
  for (const way of ways) {
    await flow(`pages of the API are looked at: ${named(way)}`, () => access.pagesOfTheApiAreLookedAt(browser, product.api, way));
  }
}

if ('demo'.includes(wanted)) {
  for (const script of [true, false]) {
    await flow(`ten cards of the demo are cleared by keyboard: script ${script}`, () => demo.tenCardsAreClearedByKeyboard(browser, script));
  }
  await flow('no room of the demo is empty', () => demo.noRoomIsEmpty(browser));
}

if ('moderation'.includes(wanted)) {
  await flow('what the demo left open is answered', () => demo.openEndsAreTied(browser, origin));
  for (const way of ways) {
    await flow(`the queue is read: ${named(way)}`, () => moderation.theQueueIsReadInEveryWay(browser, origin, way));
  }
  await flow('others only see what is theirs', () => moderation.othersOnlySeeWhatIsTheirs(browser, origin));
  for (const script of [true, false]) {
    await flow(`a decision is undone: script ${script}`, () => moderation.aDecisionIsUndone(browser, origin, script));
  }
  await flow('bad input is said beside the form', () => moderation.badInputIsSaidBesideTheForm(browser, origin));
  await flow('shortcuts leave typing alone', () => moderation.shortcutsLeaveTypingAlone(browser, origin));
  await flow('two moderators are on one card', () => moderation.twoModeratorsAreOnOneCard(browser, origin));
  await flow('a ban needs four eyes and is reversed', () => moderation.aBanNeedsFourEyesAndIsReversed(browser, origin));
  await flow('a suspension reaches the account by mail', () => moderation.aSuspensionReachesTheAccountByMail(browser, origin, product.data));
  await flow('the queue is cleared by keyboard', () => moderation.theQueueIsClearedByKeyboard(browser, origin));
  await flow('a block of addresses is banned by two', () => moderation.aBlockOfAddressesIsBannedByTwo(browser, origin));
  for (const script of [true, false]) {
    await flow(`an appeal is answered by somebody else: script ${script}`, () => moderation.anAppealIsAnsweredBySomebodyElse(browser, product, script));
  }
}

if ('people'.includes(wanted)) {
  for (const way of ways) {
    await flow(`people are found: ${named(way)}`, () => people.peopleAreFound(browser, origin, way));
    await flow(`the trail is read and checked: ${named(way)}`, () => people.theTrailIsReadAndChecked(browser, origin, way));
  }
  await flow('a suspended account is reactivated', () => people.aSuspendedAccountIsReactivated(browser, origin));
  for (const script of [true, false]) {
    await flow(`notes are kept: script ${script}`, () => people.notesAreKept(browser, origin, script));
  }
  await flow('the people of the queue are searched by key', () => people.thePeopleOfTheQueueAreSearchedByKey(browser, origin));
  await flow('an erasure needs four eyes', () => people.anErasureNeedsFourEyes(browser, origin));
  await flow('people and programs are let in', () => people.peopleAndProgramsAreLetIn(browser, origin, product.api));
  await flow('an administrator is made by two', () => people.anAdministratorIsMadeByTwo(browser, origin, product.data));
  await flow('a role is changed, and given by two', () => people.aRoleIsChangedAndGivenByTwo(browser, origin));
  for (const way of ways) {
    await flow(`statistics are shown: ${named(way)}`, () => people.statisticsAreShownAndDownloaded(browser, origin, way));
  }
  await flow('a reset link is shown once', () => people.aResetLinkIsShownOnce(browser, origin));
}

if ('operation'.includes(wanted)) {
  for (const way of ways) {
    await flow(`the product is looked at: ${named(way)}`, () => operation.theProductIsLookedAt(browser, origin, way, product));
  }
  await flow('figures are downloaded', () => operation.figuresAreDownloaded(browser, origin, product));
  await flow('a setting is changed', () => operation.aSettingIsChanged(browser, origin));
  await flow('mail is set', () => operation.mailIsSet(browser, origin));
  await flow('content rules are kept', () => operation.contentRulesAreKept(browser, origin));
  for (const script of [true, false]) {
    await flow(`a backup is asked for: script ${script}`, () => operation.aBackupIsAskedFor(browser, origin, script));
  }
  // The last one: the product ends with it.
  await flow('a node is drained', () => operation.aNodeIsDrained(browser, origin, product));
}

await browser.close();
await product.stop();
console.log(`${inspected()} pages inspected, ${failed} flows failed`);
process.exit(failed ? 1 : 0);
