// Makes pages live that have something to tell. Text from elsewhere is only ever set as text.
'use strict';

const find = (id) => document.getElementById(id);

function made(name, text, classes) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (classes) element.className = classes;
  return element;
}

async function send(url, body) {
  const response = await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  if (response.ok) return;
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `Error ${response.status}`);
}

function chat(log) {
  const add = ({ user, text }) => {
    const line = made('li');
    line.append(made('strong', user), ` ${text}`);
    log.append(line);
    log.scrollTop = log.scrollHeight;
  };
  const again = async () => {
    const messages = await (await fetch('/api/chat')).json();
    log.replaceChildren();
    messages.forEach(add);
  };
  const events = new EventSource('/api/chat/stream');
  events.onmessage = (event) => add(JSON.parse(event.data));
  events.addEventListener('gap', again);
  let wasLost = false;
  events.onerror = () => { wasLost = true; };
  events.onopen = () => {
    log.dataset.live = 'true';
    if (wasLost) again();
    wasLost = false;
  };
  log.scrollTop = log.scrollHeight;
  const form = find('say');
  form?.addEventListener('submit', async (event) => {
    event.preventDefault();
    const [input, trouble] = [find('text'), find('trouble')];
    try {
      await send('/api/chat', { text: input.value });
      input.value = '';
      trouble.hidden = true;
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
    input.focus();
  });
}

function board(body) {
  const events = new EventSource('/api/leaderboard/stream');
  events.onopen = () => { body.dataset.live = 'true'; };
  events.onmessage = (event) => {
    body.replaceChildren(...JSON.parse(event.data).map(({ rank, name, score }) => {
      const row = made('tr');
      const who = made('th', name);
      who.scope = 'row';
      row.append(made('td', rank), who, made('td', score, 'number'));
      return row;
    }));
  };
  find('score')?.addEventListener('click', () => send('/api/scores', { points: 10 }));
}

function hood(body) {
  const ROWS = 25;
  const POINTS = 60;
  const points = [];
  const milliseconds = (us) => `${(us / 1000).toFixed(2)} ms`;
  const duration = (ms) => {
    if (ms < 10_000) return `${ms} ms`;
    return ms < 600_000 ? `${Math.floor(ms / 1000)} s` : `${Math.floor(ms / 60_000)} min`;
  };
  const draw = () => {
    const space = 'http://www.w3.org/2000/svg';
    find('plot').replaceChildren(...points.map(({ us, kind }, at) => {
      const bar = document.createElementNS(space, 'rect');
      const height = Math.min(118, Math.max(2, 27 * Math.log10(1 + us / 50)));
      for (const [name, value] of Object.entries({ x: at * 10 + 1, y: 120 - height, width: 8, height, class: kind })) {
        bar.setAttribute(name, value);
      }
      return bar;
    }));
  };
  const point = (us, kind) => {
    points.push({ us, kind });
    if (points.length > POINTS) points.shift();
  };
  const row = (seen) => {
    const line = made('tr');
    const what = made('th', `${seen.method} ${seen.path} `);
    what.scope = 'row';
    what.append(made('span', seen.status, 'quiet'));
    const looks = made('td');
    for (const look of seen.looks) {
      looks.append(made('span', look.outcome, `tag ${look.outcome}`), ` ${look.key} `);
      if (look.age_ms > 0) looks.append(made('span', `${Math.floor(look.age_ms / 1000)} s old `, 'quiet'));
    }
    const saved = seen.looks.reduce((sum, look) => sum + look.saved_us, 0);
    const times = [seen.took_us, saved].map((us) => made('td', us ? milliseconds(us) : '', 'number'));
    line.append(what, looks, ...times);
    return line;
  };
  for (const line of [...body.rows].reverse()) {
    const kind = ['miss', 'stale', 'hit'].find((kind) => line.querySelector(`.${kind}`)) ?? 'none';
    point(Number(line.dataset.us), kind);
  }
  draw();
  const sums = async () => {
    const stats = await (await fetch('/api/stats')).json();
    const shown = { hits: stats.hits, stale: stats.stale, misses: stats.misses, queries: stats.queries,
      saved: stats.queriesSaved, time: duration(stats.savedMs), oldest: duration(stats.oldestServedMs),
      sessions: stats.sessions ?? '?' };
    for (const [id, value] of Object.entries(shown)) find(id).textContent = value;
  };
  let isDue = false;
  const events = new EventSource('/api/stats/stream');
  events.onopen = () => { body.dataset.live = 'true'; };
  events.onmessage = (event) => {
    const seen = JSON.parse(event.data);
    // What this page asks for itself is not worth showing.
    if (seen.path.startsWith('/api/stats')) return;
    body.prepend(row(seen));
    while (body.rows.length > ROWS) body.lastElementChild.remove();
    const kinds = seen.looks.map((look) => look.outcome);
    point(seen.took_us, ['miss', 'stale', 'hit'].find((kind) => kinds.includes(kind)) ?? 'none');
    draw();
    if (!isDue) {
      isDue = true;
      setTimeout(() => { isDue = false; sums(); }, 500);
    }
  };
}

for (const [id, start] of [['chat', chat], ['board', board], ['seen', hood]]) {
  const element = find(id);
  if (element) start(element);
}
