// The session store itself: what an application may ask of it beyond the sessions of its own requests.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { RedisStore } from 'connect-redis';
import * as redis5 from 'redis5';
import * as redis6 from 'redis6';
import { MODES, Server } from './lib/server.js';
import { until } from './lib/until.js';

for (const mode of MODES) {
  describe(`connect-redis, ${mode} server`, () => {
    let server, client, store;
    before(async () => (server = await Server.start(mode)));
    after(() => server.destroy());

    for (const [name, library] of Object.entries({ redis5, redis6 })) {
      describe(`on ${name}`, () => {
        beforeEach(async () => {
          client = library.createClient({ url: server.url, ...(server.ca && { socket: { ca: server.ca } }) });
          await client.connect();
          await client.flushAll();
          store = new RedisStore({ client, prefix: 'shop:', ttl: 1000, scanCount: 10 });
        });
        afterEach(() => client.destroy());

        const session = (user, maxAgeMs = 60_000) => ({
          user,
          cookie: { originalMaxAge: maxAgeMs, expires: new Date(Date.now() + maxAgeMs) },
        });

        it('stores a session for as long as its cookie lives', async () => {
          await store.set('one', session('ada'));
          assert.equal((await store.get('one')).user, 'ada');
          assert.equal(await store.get('two'), null);
          const ttl = await client.ttl('shop:one');
          assert.ok(ttl > 50 && ttl <= 60, `${ttl}`);
          await store.set('forever', { user: 'grace', cookie: {} });
          assert.ok((await client.ttl('shop:forever')) > 990);
        });

        it('touches, and destroys', async () => {
          await store.set('one', session('ada'));
          await store.touch('one', session('ada', 500_000));
          assert.ok((await client.ttl('shop:one')) > 490);
          await store.destroy('one');
          assert.equal(await client.dbSize(), 0);
          await store.set('late', session('ada', -1000));
          assert.equal(await client.dbSize(), 0);
        });

        it('lists, counts and clears what is its own', async () => {
          await client.set('other', 'x');
          const ids = Array.from({ length: 100 }, (_, i) => `id:${i}`);
          await Promise.all(ids.map((id) => store.set(id, session(`user of ${id}`))));
          assert.equal(await store.length(), 100);
          assert.deepEqual((await store.ids()).sort(), [...ids].sort());
          const all = await store.all();
          assert.ok(all.every(({ id, user }) => user === `user of ${id}`));
          assert.equal(all.length, 100);
          await store.clear();
          assert.equal(await store.length(), 0);
          assert.equal(await client.get('other'), 'x');
        });

        it('forgets by itself', async () => {
          await store.set('short', session('ada', 1000));
          await until('the session is removed', async () => (await client.dbSize()) === 0);
        });
      });
    }
  });
}
