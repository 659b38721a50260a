// The tutorial application in examples/express, driven from outside as its readers would.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createClient } from 'redis5';
import { App, DatabaseFile } from './lib/app.js';
import { Server } from './lib/server.js';
import { until } from './lib/until.js';

const ADA = { username: 'ada', password: 'analytical' };

for (const client of ['redis 5', 'redis 6']) {
  for (const mode of ['plain', 'tls']) {
    describe(`the tutorial on ${client}, ${mode} server`, () => story(client, mode));
  }
}

function story(client, mode) {
  let server, database, store, first, second;
  const running = new Set();
  const start = async (env) => {
    const app = await App.start({ server, database, client, env });
    running.add(app);
    return app;
  };
  const stop = async (app) => {
    running.delete(app);
    await app.stop();
  };

  before(async () => {
    server = await Server.start(mode);
    database = new DatabaseFile();
    store = createClient({ url: server.url, ...(server.ca && { socket: { ca: server.ca } }) });
    store.on('error', () => {}); // the server is stopped on purpose below
    await store.connect();
    [first, second] = await Promise.all([start(), start()]);
  });
  after(async () => {
    await Promise.all([...running].map(stop));
    store?.destroy();
    await server?.destroy();
    database?.remove();
  });

  const login = async (app) => {
    const { status, body, cookie } = await app.post('/login', ADA);
    assert.deepEqual([status, body.username], [200, 'ada']);
    return cookie;
  };
  const profile = async (app, cookie) => (await app.get('/profile', { cookie })).status;

  describe('sessions', () => {
    it('are not made for visitors', async () => {
      assert.equal((await first.get('/profile')).status, 401);
      assert.equal((await first.post('/login', { ...ADA, password: 'wrong' })).status, 401);
      assert.equal((await first.post('/login', {})).status, 400);
      assert.equal(await sessions(store), 0);
    });

    it('begin at one process and are known at the other, until the logout', async () => {
      const cookie = await login(first);
      assert.deepEqual((await second.get('/profile', { cookie })).body, { userId: 1, username: 'ada' });
      assert.equal((await second.post('/logout', {}, { cookie })).status, 204);
      assert.equal(await profile(first, cookie), 401);
      assert.equal(await sessions(store), 0);
    });

    it('do not open for a forged cookie', async () => {
      const cookie = await login(first);
      assert.equal(await profile(first, `${cookie.slice(0, -3)}AAA`), 401);
    });

    it('last 24 hours from the last request', async () => {
      await store.flushAll();
      const cookie = await login(first);
      const [key] = await keys(store, 'sess:*');
      await store.expire(key, 100);
      assert.equal(await profile(second, cookie), 200);
      const ttl = await store.ttl(key);
      assert.ok(ttl > 86_000 && ttl <= 86_400, `${ttl}`);
    });

    it('survive a restart of the server, and both processes come back by themselves', async () => {
      const cookie = await login(first);
      await server.stop();
      await until('the application has noticed', () => first.count('RECONNECTING') > 0);
      await server.resume();
      assert.equal(await profile(first, cookie), 200);
      assert.equal(await profile(second, cookie), 200);
    });

    it('survive a restart of the application', async () => {
      const cookie = await login(first);
      await stop(first);
      first = await start();
      assert.equal(await profile(first, cookie), 200);
    });

    it('do not keep the application from stopping while the server is away', async () => {
      const cookie = await login(first);
      const app = await start({ WRITE_BACK_MS: '20' });
      await server.stop();
      try {
        await until('the application has noticed', () => app.count('RECONNECTING') > 0);
        const waiting = profile(app, cookie).catch(() => 'came too late');
        await stop(app);
        assert.ok([500, 'came too late'].includes(await waiting));
      } finally {
        await server.resume();
      }
    });

    it('disappear from the store after their maxAge, without being read', async () => {
      const short = await start({ SESSION_MAX_AGE: '2000' });
      await store.flushAll();
      const cookie = await login(short);
      assert.equal(await store.dbSize(), 1);
      // DBSIZE counts and looks at no key: what it does not count any more, the server has removed by itself.
      await until('the session is removed', async () => (await store.dbSize()) === 0);
      assert.equal(await profile(short, cookie), 401);
      await stop(short);
    });
  });

  describe('products', () => {
    it('come from the cache after the first request', async () => {
      await store.flushAll();
      const queries = first.count('QUERY');
      const miss = await first.get('/api/products');
      assert.deepEqual([miss.cache, miss.body.length], ['MISS', 60]);
      const hit = await second.get('/api/products');
      assert.deepEqual([hit.cache, hit.body], ['HIT', miss.body]);
      assert.equal(first.count('QUERY'), queries + 1);
      const ttl = await store.ttl('products:all');
      assert.ok(ttl > 290 && ttl <= 300, `${ttl}`);
      assert.deepEqual(JSON.parse(await store.get('products:all')), miss.body);
    });

    it('that do not exist are not found, and not kept', async () => {
      for (const path of ['/api/products/61', '/api/products/x', '/api/products/61/stock']) {
        assert.equal((await first.get(path)).status, 404);
      }
      assert.equal((await first.put('/api/products/61/price', { price: 1 })).status, 404);
      assert.equal((await first.put('/api/products/61/stock', { stock: 1 })).status, 404);
      assert.deepEqual(await keys(store, '*61'), []);
    });

    it('refuse nonsense', async () => {
      assert.equal((await first.put('/api/products/1/price', { price: 'free' })).status, 400);
      assert.equal((await first.put('/api/products/1/stock', { stock: -1 })).status, 400);
    });

    it('write through: database and cache change together', async () => {
      await first.get('/api/products');
      assert.equal((await first.put('/api/products/7/price', { price: 4711 })).body.price, 4711);
      assert.equal(JSON.parse(await store.get('products:7')).price, 4711);
      const queries = first.count('QUERY');
      const read = await first.get('/api/products/7');
      assert.deepEqual([read.cache, read.body.price], ['HIT', 4711]);
      assert.equal(first.count('QUERY'), queries);
      assert.equal((await second.get('/api/products')).body.find(({ id }) => id === 7).price, 4711);
      // With the cache out of the way, the database says the same.
      await store.flushAll();
      const again = await first.get('/api/products/7');
      assert.deepEqual([again.cache, again.body.price], ['MISS', 4711]);
    });

    it('write back: the cache at once, the database later', async () => {
      const patient = await start({ WRITE_BACK_MS: '3600000' });
      const direct = await start({ NO_CACHE: '1', WRITE_BACK_MS: '3600000' });
      await Promise.all([first, second].map(stop)); // their workers would be too fast for us
      const stock = async (app) => (await app.get('/api/products/9/stock')).body.stock;
      const before = await stock(direct);

      for (const value of [101, 102, 103]) {
        assert.equal((await patient.put('/api/products/9/stock', { stock: value })).status, 202);
      }
      assert.equal(await stock(patient), 103);
      assert.equal(await stock(direct), before);
      assert.equal(await store.ttl('stock:9'), -1);
      assert.equal(await store.lLen('write-back:queue'), 3);

      // The queue outlives the process; whoever starts next does what is in it.
      await stop(patient);
      [first, second] = await Promise.all([start({ WRITE_BACK_MS: '50' }), start({ WRITE_BACK_MS: '50' })]);
      await until('the database has it', async () => (await stock(direct)) === 103);
      await until('the queue is empty', async () => (await keys(store, 'write-back:[qw]*')).length === 0);
      await until('the key may expire', async () => (await store.ttl('stock:9')) > 290);
      assert.equal(await stock(first), 103);
      await stop(direct);
    });
  });

  it('chat: what is said at one process is heard at both', async () => {
    const ears = await Promise.all([first.listen('/api/chat'), second.listen('/api/chat')]);
    const said = { user: 'ada', text: 'Grüße\n"quoted"' };
    const { status, body } = await first.post('/api/chat', said);
    assert.deepEqual([status, body.receivers], [202, 2]);
    for (const ear of ears) {
      const { user, text } = await ear.next();
      assert.deepEqual({ user, text }, said);
      ear.close();
    }
    assert.equal((await first.post('/api/chat', { text: 'who am I' })).status, 400);
  });

  it('leaderboard: the ten best, everybody with their best', async () => {
    await store.del('leaderboard');
    for (let i = 1; i <= 12; i++) await first.post('/api/leaderboard', { player: `player ${i}`, score: i * 10 });
    assert.equal((await second.post('/api/leaderboard', { player: 'player 12', score: 1 })).body.rank, 1);
    assert.equal((await second.post('/api/leaderboard', { player: 'player 1', score: 115.5 })).body.rank, 2);
    const { body } = await second.get('/api/leaderboard');
    assert.equal(body.length, 10);
    assert.deepEqual(body.slice(0, 3), [
      { rank: 1, player: 'player 12', score: 120 },
      { rank: 2, player: 'player 1', score: 115.5 },
      { rank: 3, player: 'player 11', score: 110 },
    ]);
    assert.equal((await first.post('/api/leaderboard', { player: 'x', score: 'y' })).status, 400);
  });
}

/** How many sessions are stored. */
async function sessions(store) {
  return (await keys(store, 'sess:*')).length;
}

async function keys(store, pattern) {
  const found = new Set();
  for await (const batch of store.scanIterator({ MATCH: pattern })) batch.forEach((key) => found.add(key));
  return [...found];
}
