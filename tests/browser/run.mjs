// Runs every flow, each in the ways that matter to it, and says what was seen.
import * as access from './access.mjs';
import * as appeals from './appeals.mjs';
import { inspected, launch } from './browser.mjs';
import * as demo from './demo.mjs';
import * as moderation from './moderation.mjs';
import * as operation from './operation.mjs';
import * as people from './people.mjs';
import { start } from './server.mjs';
import * as staff from './staff.mjs';

const ways = [
  { script: true, language: 'en', theme: 'light' },
  { script: false, language: 'fr-FR', theme: 'dark' },
  { script: true, language: 'fr-FR', theme: 'light', phone: true },
  { script: false, language: 'en', theme: 'dark', phone: true },
];
/** Two that differ in everything but the language, one with the keyboard alone: each has a product of its own, for most of what is done can be done once. */
const lives = [ways[0], { ...ways[3], keys: true }];

/** Changes nothing that matters: the first product is enough for all ways. */
const inAllWays = (name, run) => ({ name, run, within: (life) => (life === lives[0] ? ways : []) });
/** Changes the product: done in each life. */
const inEachLife = (name, run) => ({ name, run, within: (life) => [life] });
/** About scripts, or about having none, by its nature: it chooses its own way. */
const inOneWay = (name, run) => ({ name, run, within: (life) => (life === lives[0] ? [null] : []) });

const rooms = {
  access: [
    inAllWays('a moderator comes and goes', access.aModeratorComesAndGoes),
    inEachLife('an administrator needs a second factor', access.anAdministratorNeedsASecondFactor),
    inEachLife('a code is asked for and works once', access.aCodeIsAskedForAndWorksOnce),
    inEachLife('language and colours are chosen', access.languageAndColoursAreChosen),
    inEachLife('foreign forms are refused', access.foreignFormsAreRefused),
    inOneWay('a security key is added, used and removed', access.aSecurityKeyIsAddedUsedAndRemoved),
    inOneWay('without a script a code does', access.withoutAScriptACodeDoes),
    inEachLife('failures lock out', access.failuresLockOut),
    inAllWays('pages of the API are looked at', access.pagesOfTheApiAreLookedAt),
  ],
  moderation: [
    inEachLife('what the demo left open is answered', demo.openEndsAreTied),
    inAllWays('the queue is read', moderation.theQueueIsReadInEveryWay),
    inEachLife('others only see what is theirs', moderation.othersOnlySeeWhatIsTheirs),
    inEachLife('a decision is undone', moderation.aDecisionIsUndone),
    inEachLife('bad input is said beside the form', moderation.badInputIsSaidBesideTheForm),
    inOneWay('shortcuts leave typing alone', moderation.shortcutsLeaveTypingAlone),
    inEachLife('two moderators are on one card', moderation.twoModeratorsAreOnOneCard),
    inEachLife('a ban needs four eyes and is reversed', moderation.aBanNeedsFourEyesAndIsReversed),
    inEachLife('a suspension reaches the account by mail', moderation.aSuspensionReachesTheAccountByMail),
    inOneWay('the queue is cleared by keyboard', moderation.theQueueIsClearedByKeyboard),
    inEachLife('a block of addresses is banned by two', moderation.aBlockOfAddressesIsBannedByTwo),
    inEachLife('an appeal is answered by somebody else', appeals.anAppealIsAnsweredBySomebodyElse),
  ],
  people: [
    inAllWays('people are found', people.peopleAreFound),
    inAllWays('the trail is read and checked', people.theTrailIsReadAndChecked),
    inEachLife('a suspended account is reactivated', people.aSuspendedAccountIsReactivated),
    inEachLife('notes are kept', people.notesAreKept),
    inOneWay('the people of the queue are searched by key', people.thePeopleOfTheQueueAreSearchedByKey),
    inEachLife('an erasure needs four eyes', people.anErasureNeedsFourEyes),
    inEachLife('people and programs are let in', people.peopleAndProgramsAreLetIn),
    inEachLife('an administrator is made by two', staff.anAdministratorIsMadeByTwo),
    inEachLife('a role is changed, and given by two', staff.aRoleIsChangedAndGivenByTwo),
    inAllWays('statistics are shown', people.statisticsAreShownAndDownloaded),
    inEachLife('a reset link is shown once', people.aResetLinkIsShownOnce),
  ],
  operation: [
    inAllWays('the product is looked at', operation.theProductIsLookedAt),
    inEachLife('figures are downloaded', operation.figuresAreDownloaded),
    inEachLife('a setting is changed', operation.aSettingIsChanged),
    inEachLife('mail is set', operation.mailIsSet),
    inEachLife('content rules are kept', operation.contentRulesAreKept),
    inEachLife('a backup is asked for', operation.aBackupIsAskedFor),
    // The last one: the product ends with it.
    inEachLife('a node is drained', operation.aNodeIsDrained),
  ],
};

const names = { MODERATOR: ['mia', 'tom', 'ned', 'rob'], ADMIN: ['ada', 'eve', 'ivy', 'kim', 'lea', 'max', 'nia', 'pia', 'joe', 'zoe', 'kay', 'uma', 'vic'], AUDITOR: ['otto'], SRE: ['sue'] };
const everybody = Object.entries(names).flatMap(([role, all]) => all.map((name) => [name, role]));
const wanted = process.argv[2] ?? '';
const browser = await launch();
let failed = 0;

const named = (way) => [way.language, way.theme, way.phone ? 'phone' : 'wide', way.script ? 'js' : 'no js', way.keys ? 'keyboard' : ''].join(' ').trim();
const titled = (name, way) => (way ? `${name}: ${named(way)}` : name);

async function flow(name, way, run) {
  const began = Date.now();
  try {
    await run();
    console.log(`ok    ${titled(name, way)} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    console.error(`FAIL  ${titled(name, way)}\n${error.stack}`);
  }
}

/** What `up --demo` shows by itself: each flow has a product of its own, with nobody else in it. */
async function lookAtTheDemo(life) {
  await flow('ten cards of the demo are cleared by keyboard', life, () => demo.tenCardsAreClearedByKeyboard(browser, life));
  await flow('no room of the demo is empty', life, () => demo.noRoomIsEmpty(browser, life));
}

/** One product, from its first start to its end. */
async function live(life, flows) {
  const product = await start(everybody);
  for (const { name, run, within } of flows) {
    for (const way of within(life)) await flow(name, way, () => run(browser, product, way));
  }
  await product.stop();
}

const flows = Object.keys(rooms).filter((room) => room.includes(wanted)).flatMap((room) => rooms[room]);
// One after the other: two products at once are much for a small machine.
for (const life of lives) {
  if ('demo'.includes(wanted)) await lookAtTheDemo(life);
  if (flows.length) await live(life, flows);
}

await browser.close();
console.log(`${inspected()} pages inspected, ${failed} flows failed`);
process.exit(failed ? 1 : 0);
