// Somebody without a mouse: whatever a flow clicks, fills, ticks or chooses is reached with the tab key and done with keys.

/** Presses of the tab key after which something counts as out of reach. */
const reach = 400;
/** Pages of visitors who use the keyboard alone. */
const keyed = new WeakSet();
let own;

/** From here on this page is used with the keyboard alone. */
export function useKeysOnly(page) {
  keyed.add(page);
  const first = (selector) => page.locator(selector).first();
  page.click = (selector, options) => first(selector).click(options);
  page.fill = (selector, text) => first(selector).fill(text);
  page.check = (selector) => first(selector).check();
  page.uncheck = (selector) => first(selector).uncheck();
  page.selectOption = (selector, value) => first(selector).selectOption(value);
  own ??= takeOver(Object.getPrototypeOf(page.locator('html')));
}

/** What locators do by themselves is done by keys on pages of the keyboard. */
function takeOver(prototype) {
  const ways = { click: press, fill: type, check: tick(true), uncheck: tick(false), selectOption: choose };
  for (const [name, byKeys] of Object.entries(ways)) {
    const before = prototype[name];
    prototype[name] = function act(...given) {
      return keyed.has(this.page()) ? byKeys(this, ...given) : before.apply(this, given);
    };
  }
  return ways;
}

/** Goes on with the tab key until the one that is wanted has the focus. */
export async function tabTo(locator) {
  const page = locator.page();
  await locator.waitFor();
  // Most of the way at once; how far it is, the page says.
  const steps = await locator.evaluate((wanted) => {
    const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')];
    const stops = all.filter((one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility());
    return stops.indexOf(wanted) - stops.indexOf(document.activeElement);
  });
  for (let n = 0; n < Math.abs(steps); n += 1) await page.keyboard.press(steps < 0 ? 'Shift+Tab' : 'Tab');
  for (let n = 0; n < reach; n += 1) {
    if (await locator.evaluate((wanted) => wanted === document.activeElement)) return shows(locator);
    await page.keyboard.press('Tab');
  }
  throw new Error(`the keyboard does not lead to ${locator}`);
}

/** Who uses keys sees where they are. */
async function shows(locator) {
  const outline = await locator.evaluate((one) => getComputedStyle(one).outlineStyle);
  if (outline === 'none') throw new Error(`nothing shows that the focus is on ${locator}`);
}

async function press(locator, options) {
  await tabTo(locator);
  const isBox = await locator.evaluate((one) => one.type === 'checkbox' || one.type === 'radio');
  // Unlike the keyboard's own, this one waits for the page that a key leads to.
  await locator.press(isBox ? 'Space' : 'Enter', options);
}

async function type(locator, text) {
  await tabTo(locator);
  const { keyboard } = locator.page();
  await keyboard.press('ControlOrMeta+a');
  if (text) await keyboard.type(text);
  else await keyboard.press('Delete');
}

const tick = (wanted) => async (locator) => {
  await tabTo(locator);
  if ((await locator.isChecked()) !== wanted) await locator.press('Space');
};

async function choose(locator, value) {
  await tabTo(locator);
  const count = await locator.evaluate((list) => list.options.length);
  await locator.press('Home');
  for (let n = 0; n < count; n += 1) {
    if ((await locator.inputValue()) === value) return;
    await locator.press('ArrowDown');
  }
  throw new Error(`the arrows do not lead to ${value}`);
}
