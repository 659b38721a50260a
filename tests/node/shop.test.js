// The shop in a real browser, as its customers use it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, it } from 'node:test';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { App, DatabaseFile } from './lib/app.js';
import { Cluster, Redis, noRedis } from './lib/cluster.js';
import { Postgres, noPostgres } from './lib/postgres.js';
import { Server } from './lib/server.js';
import { Folder, PICTURES, Shop, browserPath, noShop, skip } from './lib/shop.js';

const PASSWORD = 'a long enough password';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');
/** With this in the environment, on everything that the shop can stand on; without it, on what differs most. */
const isFull = process.env.BARS === 'full';
const notNow = !isFull && 'only with BARS=full';

tell('the shop on its own engine', false, () => ({ processes: 1 }));

tell('two shops on one larder-server', false, async () => {
  const server = await Server.start('plain');
  return { larder: server.url, end: () => server.destroy() };
});

tell('two shops on one redis-server', noRedis || notNow, async () => {
  const server = await Redis.start();
  return { larder: server.url, end: () => server.destroy() };
});

tell('two shops on a cluster', noRedis || notNow, async () => {
  const cluster = await Cluster.start();
  return { larder: cluster.url, end: () => cluster.destroy() };
});

tell('the shop on PostgreSQL', noPostgres || notNow, async () => {
  const postgres = await Postgres.start();
  return { processes: 1, database: postgres.url, end: () => postgres.destroy() };
});

/** The story of a customer, where that can be, unless SHOP_STORY asks for another one. */
function tell(name, lacks, open) {
  describe(name, { skip: skip || lacks || isOther(name) }, () => story(open));
}

function isOther(name) {
  return !name.includes(process.env.SHOP_STORY ?? '') && 'SHOP_STORY asks for another';
}

const SHARED = 'the shop and an Express application that share sessions';

describe(SHARED, { skip: noShop || isOther(SHARED) }, () => {
  let server, database, folder, app, shop;
  before(async () => {
    [server, database, folder] = [await Server.start('plain'), new DatabaseFile(), new Folder()];
    app = await App.start({ server, database });
    shop = await Shop.start(folder.path, { LARDER_URL: server.url, SHOP_PROFILE: 'express', SHOP_SECRET: 'only for tests' });
  });
  after(async () => {
    await shop?.stop();
    await app?.stop();
    await server?.destroy();
    for (const place of [folder, database]) place?.remove();
  });

  const ask = (path, { cookie, ...rest } = {}) => fetch(shop.url + path, {
    headers: { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin', ...(cookie && { cookie }) }, ...rest,
  });

  it('knows on either side who has logged in on the other', async () => {
    const body = JSON.stringify({ username: 'ann', password: PASSWORD });
    const answer = await ask('/signup', { method: 'POST', body });
    const cookie = answer.headers.get('set-cookie').split(';')[0];
    assert.equal((await app.get('/profile', { cookie })).body.username, 'ann');
    await app.post('/logout', {}, { cookie });
    assert.equal((await ask('/profile', { cookie })).status, 401);
    const ada = await app.post('/login', { username: 'ada', password: 'analytical' });
    assert.equal(ada.status, 200, JSON.stringify(ada.body));
    assert.deepEqual(await (await ask('/profile', { cookie: ada.cookie })).json(), { username: 'ada' });
  });

  it('refuses what another site has sent', async () => {
    for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { origin: 'https://evil.test' }]) {
      const answer = await fetch(`${shop.url}/logout`, { method: 'POST', headers });
      assert.equal(answer.status, 403, JSON.stringify(headers));
    }
  });
});

/** Opens shops, and goes through everything a customer does; requests go to one process after the other. */
function story(open) {
  const folder = new Folder();
  let place, shops, browser, ann, again;

  const start = async () => {
    const { larder, database, processes = 2 } = place;
    const env = { SHOP_SECRET: 'a secret of thirty-two bytes or so' };
    if (larder) env.LARDER_URL = larder;
    if (database) env.DATABASE_URL = database;
    shops = [];
    while (shops.length < processes) shops.push(await Shop.start(folder.path, larder || database ? env : {}));
  };

  before(async () => {
    place = await open();
    await start();
    browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] });
    [ann, again] = [await visitor('desk', { width: 1280, height: 900 }), await visitor('phone', { width: 390, height: 844 })];
  });
  after(async () => {
    await browser?.close();
    for (const shop of shops ?? []) await shop.stop();
    await place?.end?.();
    folder.remove();
  });

  /** A browser of its own. It fails a test that makes its console complain. */
  async function visitor(name, viewport) {
    const context = await browser.newContext({ viewport });
    context.setDefaultTimeout(120_000); // far beyond what anything takes, on the slowest machine
    const page = await context.newPage();
    const troubles = [];
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('console', (message) => {
      const { url } = message.location();
      // Of a page that is not there the console speaks, as it should.
      if (message.type() === 'error' && !url.endsWith('/nowhere')) troubles.push(`${message.text()} ${url}`);
    });
    let turn = 0;
    return {
      page,
      troubles,
      // Cookies are a host's, whatever the port: the processes take turns.
      open: (path) => page.goto(shops[turn++ % shops.length].url + path),
      picture: (of) => page.screenshot({ path: join(PICTURES, `${of}-${name}.png`), fullPage: true }),
    };
  }

  /** Asks axe for what the guidelines (WCAG 2.2, A and AA) forbid. */
  const accessible = async ({ page }, what) => {
    await page.evaluate(AXE);
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const { violations } = await page.evaluate((values) => globalThis.axe.run({ runOnly: { type: 'tag', values } }), tags);
    const told = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} ${target}: ${failureSummary}`));
    assert.deepEqual(told, [], what);
  };

  const fill = async ({ page }, name) => {
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('main').getByRole('button').click();
  };

  it('is there without a configuration, and can be searched', async () => {
    await ann.open('/');
    assert.equal(await ann.page.locator('.products li').count(), 50);
    await ann.picture('catalogue');
    await ann.page.getByLabel('Search the catalogue').fill('honey');
    await ann.page.getByRole('button', { name: 'Search' }).click();
    assert.match(await ann.page.locator('main').innerText(), /found for “honey”/);
    const names = await ann.page.locator('.products .name').allInnerTexts();
    assert.ok(names.length > 0 && names.every((name) => name.includes('honey')), names.join());
  });

  it('fits a phone, a keyboard, and those who do not see well', async () => {
    for (const path of ['/', '/products/500', '/login', '/signup', '/cart', '/chat', '/leaderboard', '/hood', '/nowhere']) {
      for (const colorScheme of ['light', 'dark']) {
        await again.page.emulateMedia({ colorScheme });
        await again.open(path);
        await accessible(again, path);
      }
      const wide = await again.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} is ${wide} pixels too wide`);
    }
    await again.page.emulateMedia({ colorScheme: 'dark' });
    await again.open('/');
    await again.picture('catalogue-dark');
    await again.page.emulateMedia({ colorScheme: 'light' });
    await again.open('/');
    await again.page.keyboard.press('Tab');
    assert.equal(await again.page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
    await again.page.keyboard.press('Enter');
    await again.page.keyboard.press('Tab');
    assert.equal(await again.page.evaluate(() => document.activeElement.id), 'q');
    await again.picture('catalogue');
  });

  it('lets somebody sign up, and fill a cart', async () => {
    await ann.open('/signup');
    await ann.picture('signup');
    await fill(ann, 'ann');
    await ann.page.getByRole('link', { name: 'ann' }).waitFor();
    await ann.open('/products/500');
    await ann.page.getByLabel('How many').fill('2');
    await ann.picture('product');
    await ann.page.getByRole('button', { name: 'Put into the cart' }).click();
    await ann.page.getByRole('cell', { name: '2', exact: true }).waitFor();
    await accessible(ann, 'the cart');
    await ann.picture('cart');
  });

  it('knows her on a second device, with her cart, and ends the first from there', async () => {
    await again.open('/login');
    await fill(again, 'ann');
    await again.page.getByRole('link', { name: 'ann' }).waitFor();
    await again.open('/devices');
    assert.equal(await again.page.locator('.devices li').count(), 2);
    await accessible(again, 'the devices');
    await again.picture('devices');
    await again.page.getByRole('button', { name: 'End this session' }).click();
    await again.page.waitForFunction(() => document.querySelectorAll('.devices li').length === 1);
    await ann.open('/devices');
    await ann.page.getByRole('heading', { name: 'Log in' }).waitFor();
    await fill(ann, 'ann');
    await ann.open('/cart');
    await ann.page.getByRole('button', { name: 'Order' }).waitFor();
  });

  it('chats between browsers as it happens', async () => {
    await ann.open('/chat');
    await again.open('/chat');
    for (const { page } of [ann, again]) await page.locator('#chat[data-live]').waitFor();
    await ann.page.getByLabel('Your message').fill('<b>hello</b> from the desk');
    await ann.page.keyboard.press('Enter');
    await again.page.getByText('<b>hello</b> from the desk').waitFor();
    await ann.picture('chat');
    await again.picture('chat');
  });

  it('moves the leaderboard while people look', async () => {
    await ann.open('/leaderboard');
    await again.open('/leaderboard');
    for (const { page } of [ann, again]) await page.locator('#board[data-live]').waitFor({ state: 'attached' });
    await again.page.getByRole('button', { name: 'Score 10 points' }).click();
    await ann.page.getByRole('cell', { name: '10', exact: true }).waitFor();
    await ann.picture('leaderboard');
  });

  it('shows what happens under the hood', async () => {
    await ann.open('/hood');
    await ann.page.locator('#seen[data-live]').waitFor({ state: 'attached' });
    const url = new URL(ann.page.url()).origin;
    for (let n = 0; n < 5; n += 1) await fetch(`${url}/api/products`);
    await ann.page.locator('#seen .tag.hit').first().waitFor();
    assert.ok((await ann.page.locator('#plot rect').count()) >= 5);
    await accessible(ann, 'under the hood');
    await ann.picture('hood');
    await again.open('/hood');
    await again.picture('hood');
  });

  it('takes an order once', async () => {
    await ann.open('/cart');
    await ann.page.getByRole('button', { name: 'Order' }).click();
    await ann.page.getByText('Thank you.').waitFor();
    await ann.open('/cart');
    await ann.page.getByText('Nothing is in it yet.').waitFor();
  });

  it('knows her after a restart', async () => {
    for (const { page } of [ann, again]) await page.goto('about:blank');
    for (const shop of shops) assert.equal((await shop.stop()).code, 0);
    await start();
    await ann.open('/devices');
    await ann.page.getByText('This device').waitFor();
  });

  it('has complained about nothing, and told no secret', () => {
    assert.deepEqual([...ann.troubles, ...again.troubles], []);
    for (const shop of shops) assert.ok(!shop.log.includes(PASSWORD));
  });
}
