// How many database queries a cache saves. CI runs a slice of each; BARS=full runs what the bars ask for, and both
// print their figures.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { App, DatabaseFile } from './lib/app.js';
import { Server } from './lib/server.js';

const FULL = process.env.BARS === 'full';

for (const client of ['redis 5', 'redis 6']) {
  describe(`queries saved, on ${client}`, () => {
    let server, database, app;
    const start = async (env) => (app = await App.start({ server, database, client, env }));
    before(async () => (server = await Server.start()));
    after(() => server.destroy());
    beforeEach(() => (database = new DatabaseFile()));
    afterEach(async () => {
      await app.stop();
      database.remove();
    });

    it('a busy product route with a TTL of 300 s: one query', async (t) => {
      const requests = FULL ? 1000 : 300;
      const everyMs = FULL ? 60_000 / requests : 0;
      await start();
      const answers = [];
      // Spread over the minute in full, at the same moment in short: the slice is the harder one.
      const begin = Date.now();
      for (let i = 0; i < requests; i++) {
        if (everyMs) await sleep(Math.max(0, begin + i * everyMs - Date.now()));
        answers.push(app.get('/api/products'));
      }
      const products = await Promise.all(answers);
      assert.ok(products.every(({ status, body }) => status === 200 && body.length === 60));
      t.diagnostic(`BAR ${requests} requests in ${Math.round((Date.now() - begin) / 1000)} s, ${app.count('QUERY')} query`);
      assert.equal(app.count('QUERY'), 1);
      assert.equal(app.count('HIT') + app.count('MISS'), requests);
    });

    it('95 % reads: at least 90 % fewer queries than without the cache', async (t) => {
      const requests = FULL ? 10_000 : 2000;
      const queries = {};
      for (const [name, env] of [['cached', { CACHE_TTL: '300' }], ['uncached', { NO_CACHE: '1' }]]) {
        await start(env);
        const before = app.count('QUERY');
        await mixedRun(app, requests);
        queries[name] = app.count('QUERY') - before;
        assert.equal(app.count('WRITE'), countWrites(requests));
        if (name === 'cached') await app.stop();
      }
      const saved = 1 - queries.cached / queries.uncached;
      t.diagnostic(`BAR ${requests} requests, queries: ${queries.uncached} without, ${queries.cached} with the cache: ` +
        `${(saved * 100).toFixed(1)} % fewer (and ${countWrites(requests)} writes in both)`);
      assert.ok(saved >= 0.9, JSON.stringify(queries));
    });
  });
}

// Queries are what reads cost. Writes have to reach the database in any case, and are as many in both runs.
//
// The mix: one request in twenty writes. Reads go to a single product, nine times in ten, among all sixty, and to
// the list else; every write drops the list from the cache, so what remains is the list read after each of them.
const isWrite = (i) => i % 20 === 19;
const countWrites = (requests) => Math.floor(requests / 20);

async function mixedRun(app, requests) {
  const random = generator(20_260_914);
  for (let i = 0; i < requests; i += 10) {
    const batch = Array.from({ length: Math.min(10, requests - i) }, (_, j) => one(app, i + j, random));
    for (const { status } of await Promise.all(batch)) assert.equal(status, 200);
  }
}

function one(app, i, random) {
  const id = 1 + Math.floor(random() * 60);
  if (isWrite(i)) return app.put(`/api/products/${id}/price`, { price: 100 + i });
  return random() < 0.1 ? app.get('/api/products') : app.get(`/api/products/${id}`);
}

/** A linear congruential generator, so that every run is the same. Constants of Numerical Recipes. */
function generator(seed) {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}
