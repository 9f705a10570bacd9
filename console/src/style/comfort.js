// Comfort only: every page works without this file.
const status = document.querySelector('main [role="status"]');
if (status && status.textContent) {
  status.setAttribute('tabindex', '-1');
  status.focus();
}
const wrong = document.querySelector('[aria-invalid="true"]');
if (wrong) wrong.focus();

// Keys: never while something is typed, never with a modifier.
const typing = (element) => element.closest('input:not([type=checkbox]), select, textarea, [contenteditable]');
const rows = [...document.querySelectorAll('tr[data-case]')];
let at = -1;

function choose(next) {
  if (!rows.length) return;
  rows[at]?.classList.remove('chosen');
  at = Math.max(0, Math.min(rows.length - 1, next));
  rows[at].classList.add('chosen');
  rows[at].querySelector('a').focus();
}

const search = () => document.querySelector('[data-search]');
const keys = {
  j: () => choose(at + 1),
  k: () => choose(at - 1),
  u: () => document.querySelector('[data-undo] button')?.click(),
  '?': () => {
    const help = document.getElementById('keys');
    if (help) {
      help.open = !help.open;
      if (help.open) help.querySelector('summary').focus();
    }
  },
  '/': () => search()?.focus(),
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || typing(event.target)) return;
  const press = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  const act = keys[event.key] ?? (press && (() => press.click()));
  if (!act) return;
  event.preventDefault();
  act();
});

// A decision's ten seconds: when they are over, so is the offer to undo it.
for (const bar of document.querySelectorAll('[data-undo]')) {
  setTimeout(() => bar.remove(), Number(bar.dataset.undo));
}
// One press is one form.
for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener('submit', (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = 'yes';
  });
}
window.addEventListener('pageshow', () => document.querySelectorAll('form[data-sent]').forEach((form) => delete form.dataset.sent));
