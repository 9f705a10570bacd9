// Figures: numbers that can be copied, and the heatmap as it grows. Comfort as well: without it the page is whole.
for (const region of document.querySelectorAll('[data-copy]')) {
  const { copy, copyTable, copied } = region.dataset;
  const heard = document.createElement('p');
  heard.className = 'heard';
  heard.setAttribute('role', 'status');
  region.append(heard);

  const take = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without TLS browsers keep the clipboard to themselves; what is selected can still be taken.
      const field = document.createElement('textarea');
      field.value = text;
      region.append(field);
      field.select();
      document.execCommand('copy');
      field.remove();
    }
    heard.textContent = `${copied} ${text.length > 40 ? '' : text}`;
  };
  // Two sheets, drawn: not every font has them.
  const sheets = () => {
    const draw = (name, attributes) => {
      const element = document.createElementNS('http://www.w3.org/2000/svg', name);
      Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
      return element;
    };
    const icon = draw('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' });
    icon.append(draw('rect', { x: 5, y: 5, width: 10, height: 10, rx: 2 }), draw('path', { d: 'M11 3V2a1 1 0 0 0-1-1H2a1 1 0 0 0-1 1v8a1 1 0 0 0 1 1h1' }));
    return icon;
  };
  const button = (label, shown, act) => {
    const made = document.createElement('button');
    made.type = 'button';
    made.className = 'copy';
    if (shown) made.textContent = shown;
    else made.append(sheets());
    if (label !== shown) made.setAttribute('aria-label', label);
    made.addEventListener('click', act);
    return made;
  };
  const text = (cell) => [...cell.childNodes].filter((node) => node.className !== 'copy').map((node) => node.textContent).join('').trim();

  // A table's numbers get their button when they are pointed at; by keyboard the whole table is taken.
  let shown = null;
  region.addEventListener('pointerover', (event) => {
    const cell = event.target.closest('td.number');
    if (!cell || cell === shown?.parentElement || !text(cell)) return;
    shown?.remove();
    shown = button(`${copy} ${text(cell)}`, null, () => take(text(cell)));
    shown.tabIndex = -1;
    cell.append(shown);
  });
  for (const fact of region.querySelectorAll('.figures dd')) {
    if (/\d/.test(fact.textContent)) {
      const value = fact.textContent.trim();
      fact.append(button(`${copy} ${value}`, null, () => take(value)));
    }
  }
  for (const table of region.querySelectorAll('.table table')) {
    if (!table.querySelector('td.number')) continue;
    const line = document.createElement('p');
    line.className = 'copies';
    const whole = () => [...table.rows].map((row) => [...row.cells].map(text).join('\t')).join('\n');
    line.append(button(`${copyTable}: ${table.caption?.textContent ?? ''}`, copyTable, () => take(whole())));
    table.closest('.table').before(line);
  }
}

for (const graph of document.querySelectorAll('[data-live]')) {
  const LENGTH_MS = 300000;
  const WIDTH = 720;
  const ROW = 10;
  const SHADES = 8;
  const { live, liveBegins, liveStart, livePause, liveTitle, liveOver } = graph.dataset;
  const [title, svg, body, span] = ['figcaption', 'svg', 'tbody', '.span'].map((name) => graph.querySelector(name));
  const press = document.createElement('button');
  press.type = 'button';
  press.className = 'live';
  graph.querySelector('figure').after(press);
  let source = null;
  let columns = [];

  const moment = (ms) => {
    const time = document.createElement('time');
    time.dateTime = new Date(ms).toISOString();
    time.textContent = `${time.dateTime.slice(0, 10)} ${time.dateTime.slice(11, 19)} UTC`;
    return time;
  };
  const cell = (x, y, width, shade) => {
    const rect = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    const set = { x, y, width, height: ROW, class: `heat-${shade}` };
    for (const [name, value] of Object.entries(set)) rect.setAttribute(name, value);
    return rect;
  };
  const row = (column) => {
    const made = document.createElement('tr');
    const head = document.createElement('th');
    head.scope = 'row';
    head.append(moment(column.at));
    made.append(head);
    for (const count of column.counts) {
      const number = document.createElement('td');
      number.className = 'number';
      number.textContent = count;
      made.append(number);
    }
    return made;
  };

  function draw() {
    const last = columns.at(-1);
    const end = last ? last.at + last.ms : Date.now();
    const begin = end - LENGTH_MS;
    columns = columns.filter((column) => column.at >= begin);
    const cells = [];
    for (const { at, ms, counts } of columns) {
      const all = counts.reduce((sum, count) => sum + count, 0);
      counts.forEach((count, n) => {
        if (!count) return;
        const x = ((at - begin) / LENGTH_MS) * WIDTH;
        cells.push(cell(x, ROW * (counts.length - 1 - n), (ms / LENGTH_MS) * WIDTH, Math.ceil((count * SHADES) / all)));
      });
    }
    svg.replaceChildren(...cells);
    body.replaceChildren(...columns.map(row).reverse());
    span.replaceChildren(moment(begin), moment(end));
    title.textContent = liveTitle;
    svg.setAttribute('aria-label', liveTitle);
    graph.dataset.columns = columns.length;
  }

  function stop(label) {
    source?.close();
    source = null;
    press.textContent = label;
    press.setAttribute('aria-pressed', 'false');
  }

  function start() {
    source = new EventSource(live);
    source.addEventListener('columns', (event) => {
      // After a break the last minutes come again.
      const known = columns.at(-1)?.at ?? 0;
      columns.push(...JSON.parse(event.data).filter((column) => column.at > known));
      draw();
    });
    source.addEventListener('over', () => stop(liveOver));
    source.addEventListener('error', () => {
      if (source?.readyState === EventSource.CLOSED) stop(liveOver);
    });
    press.textContent = livePause;
    press.setAttribute('aria-pressed', 'true');
  }

  press.addEventListener('click', () => (source ? stop(liveStart) : start()));
  // Nobody looks: the place is somebody else's.
  let waits = false;
  document.addEventListener('visibilitychange', () => {
    if (document.hidden && source) {
      stop(liveStart);
      waits = true;
    } else if (!document.hidden && waits) {
      waits = false;
      start();
    }
  });
  stop(liveStart);
  if (liveBegins && !matchMedia('(prefers-reduced-motion: reduce)').matches) start();
}
