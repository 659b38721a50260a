// The `ioredis` package, major 5 (RESP2) and 6 (RESP2 and RESP3), against every set-up of the server.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { Redis as Redis5 } from 'ioredis5';
import { Redis as Redis6 } from 'ioredis6';
import { MODES, Server } from './lib/server.js';
import { until } from './lib/until.js';

const CLIENTS = {
  'ioredis5, RESP2': { Redis: Redis5, defaults: {} },
  'ioredis6, RESP2': { Redis: Redis6, defaults: { protocol: 2 } },
  'ioredis6, RESP3': { Redis: Redis6, defaults: { protocol: 3 } },
};

for (const mode of MODES) {
  describe(`ioredis package, ${mode} server`, () => {
    let server;
    before(async () => (server = await Server.start(mode)));
    after(() => server.destroy());

    for (const [name, client] of Object.entries(CLIENTS)) {
      describe(name, () => commands(client, () => server));
    }
  });
}

/** The tests of one library in one protocol. `serverOf` because the server starts after this has been declared. */
function commands({ Redis, defaults }, serverOf) {
  let client;
  const opened = [];

  const connect = (options = {}) => {
    const { host, port, password, ca } = serverOf();
    return open(new Redis({ host, port, password, ...(ca && { tls: { ca } }), ...defaults, ...options }));
  };
  const open = (created) => {
    created.on('error', () => {}); // it reports every lost connection there, and then connects again
    opened.push(created);
    return created;
  };

  beforeEach(async () => {
    client = connect();
    await client.flushall();
  });
  afterEach(() => opened.splice(0).forEach((each) => each.disconnect()));

  it('connects and answers', async () => {
    assert.equal(await client.ping(), 'PONG');
    assert.equal(await client.echo('hello'), 'hello');
    const named = connect({ connectionName: 'tester' });
    assert.equal(await named.client('GETNAME'), 'tester');
    assert.match(await named.client('INFO'), / name=tester /);
    // It has read INFO while connecting, to wait for a server that is still loading.
    assert.equal(named.status, 'ready');
  });

  it('connects by URL', async () => {
    const { url, ca } = serverOf();
    const byUrl = open(new Redis(url, { ...(ca && { tls: { ca } }), ...defaults }));
    assert.equal(await byUrl.ping(), 'PONG');
  });

  it('refuses a wrong password, and commands without one', async (t) => {
    if (!serverOf().password) return t.skip('this server has no password');
    const once = { retryStrategy: null, lazyConnect: true };
    await assert.rejects(connect({ ...once, password: 'wrong' }).get('key'), /WRONGPASS|Connection is closed/);
    await assert.rejects(connect({ ...once, password: undefined }).get('key'), /NOAUTH/);
  });

  it('keeps strings', async () => {
    assert.equal(await client.set('greeting', 'hello'), 'OK');
    assert.equal(await client.get('greeting'), 'hello');
    assert.equal(await client.get('missing'), null);
    assert.equal(await client.set('greeting', 'other', 'NX'), null);
    assert.equal(await client.set('greeting', 'other', 'GET'), 'hello');
    assert.equal(await client.incr('visits'), 1);
    assert.equal(await client.incrby('visits', 41), 42);
    assert.equal(await client.incrbyfloat('visits', 0.5), '42.5');
    assert.equal(await client.mset({ a: '1', b: '2' }), 'OK');
    assert.deepEqual(await client.mget('a', 'missing', 'b'), ['1', null, '2']);
    assert.equal(await client.getdel('a'), '1');
    assert.equal(await client.exists('a', 'b'), 1);
  });

  it('expires keys', async () => {
    await client.set('session', 'data', 'EX', 300);
    assert.ok((await client.ttl('session')) > 290);
    assert.equal(await client.expire('session', 100, 'GT'), 0);
    assert.equal(await client.persist('session'), 1);
    assert.equal(await client.ttl('session'), -1);
    assert.equal(await client.ttl('missing'), -2);
    await client.set('short', 'value', 'PX', 1);
    await until('the key is gone', async () => (await client.get('short')) === null);
  });

  it('keeps hashes', async () => {
    assert.equal(await client.hset('user:1', { name: 'Ada', role: 'admin' }), 2);
    assert.deepEqual({ ...(await client.hgetall('user:1')) }, { name: 'Ada', role: 'admin' });
    assert.deepEqual({ ...(await client.hgetall('missing')) }, {});
    assert.deepEqual(await client.hmget('user:1', 'name', 'missing'), ['Ada', null]);
    assert.equal(await client.hincrby('user:1', 'visits', 3), 3);
    assert.equal(await client.hdel('user:1', 'role', 'missing'), 1);
  });

  it('keeps lists', async () => {
    assert.equal(await client.rpush('jobs', 'a', 'b', 'c'), 3);
    assert.equal(await client.lpush('jobs', 'first'), 4);
    assert.deepEqual(await client.lrange('jobs', 0, -1), ['first', 'a', 'b', 'c']);
    assert.equal(await client.lmove('jobs', 'done', 'LEFT', 'RIGHT'), 'first');
    assert.equal(await client.rpop('jobs'), 'c');
    assert.deepEqual(await client.lpop('jobs', 5), ['a', 'b']);
    assert.equal(await client.lpop('jobs'), null);
  });

  it('keeps sets', async () => {
    assert.equal(await client.sadd('tags:1', 'red', 'green', 'red'), 2);
    await client.sadd('tags:2', 'green', 'blue');
    assert.deepEqual(sorted(await client.smembers('tags:1')), ['green', 'red']);
    assert.deepEqual(await client.sinter('tags:1', 'tags:2'), ['green']);
    assert.equal(await client.sismember('tags:1', 'red'), 1);
    assert.deepEqual(await client.smismember('tags:1', 'red', 'blue'), [1, 0]);
  });

  it('keeps a leaderboard', async () => {
    const players = Array.from({ length: 25 }, (_, i) => [i * 1.5, `player:${i}`]);
    assert.equal(await client.zadd('board', ...players.flat()), 25);
    assert.equal(await client.zadd('board', 'GT', 1, 'player:24'), 0);
    const top = players.slice(15).reverse().map(([score, player]) => [player, String(score)]);
    assert.deepEqual(pairs(await client.zrange('board', 0, 9, 'REV', 'WITHSCORES')), top);
    assert.deepEqual(pairs(await client.zrevrange('board', 0, 9, 'WITHSCORES')), top);
    assert.equal(await client.zincrby('board', 100, 'player:0'), '100');
    assert.equal(await client.zrevrank('board', 'player:0'), 0);
    assert.equal(await client.zscore('board', 'player:1'), '1.5');
    await client.zadd('board', '+inf', 'endless');
    assert.equal(await client.zscore('board', 'endless'), 'inf');
    assert.equal(await client.zcount('board', 10, '+inf'), 20);
  });

  it('gives RESP3 its own types', async (t) => {
    if (defaults.protocol !== 3) return t.skip('these are RESP3 types');
    const typed = connect({ replyMapping: 'resp3' });
    await typed.hset('user:1', { name: 'Ada' });
    await typed.zadd('board', 1.5, 'Ada');
    assert.deepEqual({ ...(await typed.hgetall('user:1')) }, { name: 'Ada' });
    assert.equal(await typed.zscore('board', 'Ada'), 1.5);
    assert.deepEqual({ ...(await typed.config('GET', 'maxmemory')) }, { maxmemory: '0' });
    assert.equal((await typed.call('HELLO')).proto, 3);
  });

  it('runs transactions', async () => {
    const replies = await client.multi().set('a', '1').incr('a').lpush('a', 'x').hset('h', 'f', 'v').exec();
    assert.deepEqual(replies.filter((_, i) => i !== 2), [[null, 'OK'], [null, 2], [null, 1]]);
    assert.match(replies[2][0].message, /^WRONGTYPE /);
    // A command that cannot even be queued: nothing is done.
    await client.multi({ pipeline: false });
    await client.set('untouched', 'x');
    await assert.rejects(client.call('GET'), /wrong number of arguments/);
    await assert.rejects(client.exec(), /EXECABORT/);
    assert.equal(await client.exists('untouched'), 0);
  });

  it('notices a conflict with WATCH', async () => {
    const other = connect();
    await client.set('balance', '10');
    await client.watch('balance');
    await other.set('balance', '20');
    assert.equal(await client.multi().set('balance', '11').exec(), null);
    assert.equal(await client.get('balance'), '20');
    await client.watch('balance');
    assert.deepEqual(await client.multi().set('balance', '11').exec(), [[null, 'OK']]);
  });

  it('answers pipelines in order', async () => {
    const numbers = Array.from({ length: 2000 }, (_, i) => String(i));
    const write = client.pipeline();
    numbers.forEach((i) => write.set(`key:${i}`, i));
    assert.ok((await write.exec()).every(([error, reply]) => error === null && reply === 'OK'));
    const read = client.pipeline();
    numbers.forEach((i) => read.get(`key:${i}`));
    assert.deepEqual(await read.exec(), numbers.map((i) => [null, i]));
    const automatic = connect({ enableAutoPipelining: true });
    assert.deepEqual(await Promise.all(numbers.map((i) => automatic.get(`key:${i}`))), numbers);
  });

  it('publishes to a duplicated connection', async () => {
    const subscriber = open(client.duplicate());
    const heard = [];
    subscriber.on('message', (channel, message) => heard.push([channel, message]));
    subscriber.on('pmessage', (pattern, channel, message) => heard.push([pattern, channel, message]));
    assert.equal(await subscriber.subscribe('chatroom'), 1);
    assert.equal(await subscriber.psubscribe('news.*'), 2);
    assert.deepEqual(await client.pubsub('NUMSUB', 'chatroom', 'nobody'), ['chatroom', 1, 'nobody', 0]);
    assert.equal(await client.pubsub('NUMPAT'), 1);

    const text = JSON.stringify({ user: 'Ada', text: 'Grüße, 世界\r\n' });
    assert.equal(await client.publish('chatroom', text), 1);
    assert.equal(await client.publish('news.weather', 'rain'), 1);
    await until('both messages are there', () => heard.length === 2);
    assert.deepEqual(heard, [['chatroom', text], ['news.*', 'news.weather', 'rain']]);

    await subscriber.unsubscribe('chatroom');
    await subscriber.punsubscribe('news.*');
    assert.equal(await client.publish('chatroom', 'x'), 0);
    assert.equal(await subscriber.ping(), 'PONG');
  });

  it('iterates', async () => {
    const names = sorted(Array.from({ length: 1500 }, (_, i) => `item:${i}`));
    await client.mset(names.flatMap((name) => [name, 'x']));
    await client.sadd('members', names);
    await client.hset('fields', ...names.flatMap((name) => [name, 'x']));
    await client.zadd('scores', ...names.flatMap((name, i) => [i, name]));

    const collect = async (stream, step = 1) => {
      const found = new Set();
      for await (const batch of stream) batch.filter((_, i) => i % step === 0).forEach((each) => found.add(each));
      return sorted(found);
    };
    assert.deepEqual(await collect(client.scanStream({ match: 'item:*', count: 100 })), names);
    assert.deepEqual(await collect(client.scanStream({ type: 'zset' })), ['scores']);
    assert.deepEqual(await collect(client.sscanStream('members')), names);
    assert.deepEqual(await collect(client.hscanStream('fields'), 2), names);
    assert.deepEqual(await collect(client.zscanStream('scores'), 2), names);
  });

  it('sees what others do with MONITOR', async () => {
    const monitor = open(await client.monitor());
    const seen = once(monitor, 'monitor');
    await client.set('watched', 'a "quoted" value');
    const [time, args] = await seen;
    assert.match(time, /^\d+\.\d{6}$/);
    assert.deepEqual(args, ['set', 'watched', 'a "quoted" value']);
  });

  it('passes error replies on, and stays usable', async () => {
    await client.set('text', 'abc');
    await assert.rejects(client.lpush('text', 'x'), { message: /^WRONGTYPE / });
    await assert.rejects(client.incr('text'), { message: 'ERR value is not an integer or out of range' });
    await assert.rejects(client.call('NOSUCH', 'x'), { message: /^ERR unknown command 'NOSUCH'/ });
    assert.equal(await client.get('text'), 'abc');
  });

  it('keeps any bytes, and many of them', async () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await client.set(every, every);
    assert.deepEqual(await client.getBuffer(every), every);
    const big = randomBytes(1 << 20);
    await client.set('big', big);
    assert.equal(await client.strlen('big'), big.length);
    const answers = await Promise.all(Array.from({ length: 8 }, () => client.getBuffer('big')));
    assert.ok(answers.every((answer) => big.equals(answer)));
  });

  it('connects again after the server was started again, and finds its data', async () => {
    const subscriber = open(client.duplicate());
    const heard = [];
    subscriber.on('message', (_, message) => heard.push(message));
    await subscriber.subscribe('chatroom');
    await client.set('kept', 'value');
    await client.rpush('kept:list', 'a', 'b');

    const ready = (each) => new Promise((done) => each.once('ready', done));
    const again = Promise.all([ready(client), ready(subscriber)]);
    await serverOf().restart();
    await again;

    assert.equal(await client.get('kept'), 'value');
    assert.deepEqual(await client.lrange('kept:list', 0, -1), ['a', 'b']);
    await until('it has subscribed again', async () => (await client.publish('chatroom', 'back')) === 1);
    await until('the message is there', () => heard.length > 0);
    assert.equal(heard[0], 'back');
  });
}

function sorted(items) {
  return [...items].sort();
}

/** [a, 1, b, 2] as [[a, 1], [b, 2]], which is what RESP3 gives already. */
function pairs(reply) {
  if (Array.isArray(reply[0])) return reply.map(([member, score]) => [member, String(score)]);
  return reply.flatMap((each, i) => (i % 2 === 0 ? [[each, reply[i + 1]]] : []));
}
