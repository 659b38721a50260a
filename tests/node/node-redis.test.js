// The `redis` package, majors 5 and 6, in RESP2 and RESP3, against every set-up of the server.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import * as redis5 from 'redis5';
import * as redis6 from 'redis6';
import { MODES, Server } from './lib/server.js';
import { until } from './lib/until.js';

for (const mode of MODES) {
  describe(`redis package, ${mode} server`, () => {
    let server;
    before(async () => (server = await Server.start(mode)));
    after(() => server.destroy());

    for (const [name, library] of Object.entries({ redis5, redis6 })) {
      for (const RESP of [2, 3]) {
        describe(`${name}, RESP${RESP}`, () => commands(library, RESP, () => server));
      }
    }
  });
}

/** The tests of one library in one protocol. `serverOf` because the server starts after this has been declared. */
function commands(library, RESP, serverOf) {
  let client;
  const opened = [];

  const connect = async (options = {}) => {
    const { url, ca } = serverOf();
    const created = library.createClient({ url, RESP, ...(ca && { socket: { ca } }), ...options });
    return open(created);
  };
  const open = async (created) => {
    created.on('error', () => {}); // it reports every lost connection there, and then connects again
    opened.push(created);
    return created.connect();
  };

  beforeEach(async () => {
    client = await connect();
    await client.flushAll();
  });
  afterEach(() => opened.splice(0).forEach((each) => each.isOpen && each.destroy()));

  it('connects and answers', async () => {
    assert.equal(await client.ping(), 'PONG');
    assert.equal(await client.echo('hello'), 'hello');
    await client.clientSetName('tester');
    assert.equal(await client.clientGetName(), 'tester');
    assert.equal((await client.clientInfo()).name, 'tester');
  });

  it('refuses a wrong password, and commands without one', async (t) => {
    const { password, ca, port, host } = serverOf();
    if (!password) return t.skip('this server has no password');
    const socket = { host, port, ...(ca && { tls: true, ca }), reconnectStrategy: false };
    const stranger = library.createClient({ RESP, password: 'wrong', socket });
    await assert.rejects(open(stranger), /WRONGPASS/);
    // HELLO 3 is refused while connecting already, anything else later.
    const nameless = library.createClient({ RESP, socket });
    await assert.rejects(open(nameless).then(() => nameless.get('key')), /NOAUTH/);
  });

  it('refuses a server that an unknown authority has signed', async (t) => {
    const { ca, password, port, host } = serverOf();
    if (!ca) return t.skip('this server does not speak TLS');
    const socket = { host, port, tls: true, reconnectStrategy: false };
    await assert.rejects(open(library.createClient({ RESP, password, socket })), /certificate/);
  });

  it('keeps strings', async () => {
    assert.equal(await client.set('greeting', 'hello'), 'OK');
    assert.equal(await client.get('greeting'), 'hello');
    assert.equal(await client.get('missing'), null);
    assert.equal(await client.set('greeting', 'other', { condition: 'NX' }), null);
    assert.equal(await client.set('greeting', 'other', { GET: true }), 'hello');
    assert.equal(await client.append('greeting', '!'), 6);
    assert.equal(await client.incr('visits'), 1);
    assert.equal(await client.incrBy('visits', 41), 42);
    assert.equal(Number(await client.incrByFloat('visits', 0.5)), 42.5);
    assert.equal(await client.mSet({ a: '1', b: '2' }), 'OK');
    assert.deepEqual(await client.mGet(['a', 'missing', 'b']), ['1', null, '2']);
    assert.equal(await client.getDel('a'), '1');
    assert.equal(await client.exists(['a', 'b']), 1);
  });

  it('expires keys', async () => {
    await client.set('session', 'data', { expiration: { type: 'EX', value: 300 } });
    assert.ok((await client.ttl('session')) > 290);
    assert.equal(await client.expire('session', 100, 'GT'), 0);
    assert.equal(await client.persist('session'), 1);
    assert.equal(await client.ttl('session'), -1);
    assert.equal(await client.ttl('missing'), -2);
    await client.setEx('short', 100, 'value');
    assert.equal(await client.getEx('short', { type: 'PX', value: 1 }), 'value');
    await until('the key is gone', async () => (await client.get('short')) === null);
  });

  it('keeps hashes', async () => {
    assert.equal(await client.hSet('user:1', { name: 'Ada', role: 'admin' }), 2);
    assert.deepEqual({ ...(await client.hGetAll('user:1')) }, { name: 'Ada', role: 'admin' });
    assert.deepEqual({ ...(await client.hGetAll('missing')) }, {});
    assert.deepEqual(await client.hmGet('user:1', ['name', 'missing']), ['Ada', null]);
    assert.equal(await client.hIncrBy('user:1', 'visits', 3), 3);
    assert.equal(await client.hDel('user:1', ['role', 'missing']), 1);
    assert.equal(await client.hExists('user:1', 'role'), 0);
  });

  it('keeps lists', async () => {
    assert.equal(await client.rPush('jobs', ['a', 'b', 'c']), 3);
    assert.equal(await client.lPush('jobs', 'first'), 4);
    assert.deepEqual(await client.lRange('jobs', 0, -1), ['first', 'a', 'b', 'c']);
    assert.equal(await client.lMove('jobs', 'done', 'LEFT', 'RIGHT'), 'first');
    assert.equal(await client.lRem('jobs', 0, 'b'), 1);
    assert.equal(await client.rPop('jobs'), 'c');
    assert.deepEqual(await client.lPopCount('jobs', 5), ['a']);
    assert.equal(await client.lPop('jobs'), null);
    assert.equal(await client.exists('jobs'), 0);
  });

  it('keeps sets', async () => {
    assert.equal(await client.sAdd('tags:1', ['red', 'green', 'red']), 2);
    await client.sAdd('tags:2', ['green', 'blue']);
    assert.deepEqual(sorted(await client.sMembers('tags:1')), ['green', 'red']);
    assert.deepEqual(await client.sInter(['tags:1', 'tags:2']), ['green']);
    assert.deepEqual(sorted(await client.sUnion(['tags:1', 'tags:2'])), ['blue', 'green', 'red']);
    assert.equal(await client.sIsMember('tags:1', 'red'), 1);
    assert.deepEqual(await client.smIsMember('tags:1', ['red', 'blue']), [1, 0]);
  });

  it('keeps a leaderboard', async () => {
    const players = Array.from({ length: 25 }, (_, i) => ({ value: `player:${i}`, score: i * 1.5 }));
    assert.equal(await client.zAdd('board', players), 25);
    assert.equal(await client.zAdd('board', { value: 'player:24', score: 1 }, { comparison: 'GT' }), 0);
    const top = await client.zRangeWithScores('board', 0, 9, { REV: true });
    assert.deepEqual(top, players.slice(15).reverse());
    assert.equal(await client.zIncrBy('board', 100, 'player:0'), 100);
    assert.equal(await client.zRevRank('board', 'player:0'), 0);
    assert.equal(await client.zScore('board', 'player:1'), 1.5);
    assert.equal(await client.zScore('board', 'missing'), null);
    await client.zAdd('board', { value: 'endless', score: Infinity });
    assert.equal(await client.zScore('board', 'endless'), Infinity);
    assert.equal(await client.zCount('board', 10, '+inf'), 20);
  });

  it('runs transactions', async () => {
    const replies = await client.multi().set('a', '1').incr('a').hSet('h', 'f', 'v').hGetAll('h').exec();
    assert.deepEqual(replies.slice(0, 3), ['OK', 2, 1]);
    assert.deepEqual({ ...replies[3] }, { f: 'v' });
    // One command fails, the others are done.
    const mixed = client.multi().set('s', 'text').lPush('s', 'x').set('t', 'done').exec();
    await assert.rejects(mixed, (error) => /WRONGTYPE/.test([error.message, ...(error.replies ?? [])].join()));
    assert.equal(await client.get('t'), 'done');
  });

  it('notices a conflict with WATCH', async () => {
    const other = await connect();
    await client.set('balance', '10');
    await client.watch('balance');
    await other.set('balance', '20');
    await assert.rejects(client.multi().set('balance', '11').exec(), library.WatchError);
    assert.equal(await client.get('balance'), '20');

    await client.watch('balance');
    assert.deepEqual(await client.multi().set('balance', '11').exec(), ['OK']);
  });

  it('answers pipelines in order', async () => {
    const numbers = Array.from({ length: 2000 }, (_, i) => String(i));
    await Promise.all(numbers.map((i) => client.set(`key:${i}`, i)));
    assert.deepEqual(await Promise.all(numbers.map((i) => client.get(`key:${i}`))), numbers);
    assert.equal(await client.dbSize(), 2000);
  });

  it('publishes to a duplicated connection', async () => {
    const subscriber = await open(client.duplicate());
    const heard = [];
    const hear = (message, channel) => heard.push([channel, message]);
    await subscriber.subscribe('chatroom', hear);
    await subscriber.pSubscribe('news.*', hear);
    assert.deepEqual({ ...(await client.pubSubNumSub(['chatroom'])) }, { chatroom: 1 });
    assert.deepEqual(await client.pubSubChannels(), ['chatroom']);

    const text = JSON.stringify({ user: 'Ada', text: 'Grüße, 世界\r\n' });
    assert.equal(await client.publish('chatroom', text), 1);
    assert.equal(await client.publish('news.weather', 'rain'), 1);
    assert.equal(await client.publish('nobody', 'x'), 0);
    await until('both messages are there', () => heard.length === 2);
    assert.deepEqual(heard, [['chatroom', text], ['news.weather', 'rain']]);

    await subscriber.unsubscribe('chatroom');
    await subscriber.pUnsubscribe('news.*');
    assert.equal(await client.publish('chatroom', 'x'), 0);
    // After RESP2's own PONG of subscribers, this library gives a Buffer.
    assert.equal(String(await subscriber.ping()), 'PONG');
  });

  it('uses a subscribed connection for commands in RESP3 only', async (t) => {
    if (RESP !== 3) return t.skip('RESP2 does not allow it');
    const heard = [];
    await client.subscribe('chatroom', (message) => heard.push(message));
    await client.set('key', 'value');
    assert.equal(await client.publish('chatroom', 'to myself'), 1);
    assert.equal(await client.get('key'), 'value');
    await until('the message is there', () => heard.length === 1);
    assert.deepEqual(heard, ['to myself']);
  });

  it('iterates', async () => {
    const names = Array.from({ length: 1500 }, (_, i) => `item:${i}`);
    await client.mSet(names.map((name) => [name, 'x']));
    await client.sAdd('members', names);
    await client.hSet('fields', Object.fromEntries(names.map((name) => [name, 'x'])));
    await client.zAdd('scores', names.map((value, score) => ({ value, score })));

    const collect = async (iterator, pick = (each) => each) => {
      const found = new Set();
      for await (const batch of iterator) batch.forEach((each) => found.add(pick(each)));
      return sorted(found);
    };
    const all = sorted(names);
    assert.deepEqual(await collect(client.scanIterator({ MATCH: 'item:*', COUNT: 100 })), all);
    assert.deepEqual(await collect(client.scanIterator({ TYPE: 'zset' })), ['scores']);
    assert.deepEqual(await collect(client.sScanIterator('members')), all);
    assert.deepEqual(await collect(client.hScanIterator('fields'), (each) => each.field), all);
    assert.deepEqual(await collect(client.zScanIterator('scores'), (each) => each.value), all);
  });

  it('passes error replies on, and stays usable', async () => {
    await client.set('text', 'abc');
    await assert.rejects(client.lPush('text', 'x'), { message: /^WRONGTYPE / });
    await assert.rejects(client.incr('text'), { message: 'ERR value is not an integer or out of range' });
    await assert.rejects(client.sendCommand(['NOSUCH', 'x']), { message: /^ERR unknown command 'NOSUCH'/ });
    await assert.rejects(client.sendCommand(['GET']), { message: "ERR wrong number of arguments for 'get' command" });
    assert.equal(await client.get('text'), 'abc');
  });

  it('keeps any bytes, and many of them', async () => {
    const bytes = client.withTypeMapping({ [library.RESP_TYPES.BLOB_STRING]: Buffer });
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await client.set(every, every);
    assert.deepEqual(await bytes.get(every), every);
    const big = randomBytes(1 << 20);
    await client.set('big', big);
    assert.equal(await client.strLen('big'), big.length);
    assert.ok(big.equals(await bytes.get('big')));
    const answers = await Promise.all(Array.from({ length: 8 }, () => bytes.get('big')));
    assert.ok(answers.every((answer) => big.equals(answer)));
  });

  it('keeps databases apart', async () => {
    const second = await connect({ database: 1 });
    await client.set('key', 'zero');
    await second.set('key', 'one');
    assert.equal(await client.get('key'), 'zero');
    assert.equal(await second.get('key'), 'one');
  });

  it('connects again after the server was started again, and finds its data', async () => {
    const subscriber = await open(client.duplicate());
    const heard = [];
    await subscriber.subscribe('chatroom', (message) => heard.push(message));
    await client.set('kept', 'value');
    await client.hSet('kept:hash', { field: 'value' });
    await client.zAdd('kept:board', { value: 'Ada', score: 1.5 });

    // Not events.once: that one fails on 'error', which a lost connection is reported with first.
    const again = Promise.all([client, subscriber].map((each) => new Promise((done) => each.once('ready', done))));
    await serverOf().restart();
    await again;

    assert.equal(await client.get('kept'), 'value');
    assert.deepEqual({ ...(await client.hGetAll('kept:hash')) }, { field: 'value' });
    assert.equal(await client.zScore('kept:board', 'Ada'), 1.5);
    await until('it has subscribed again', async () => (await client.publish('chatroom', 'back')) === 1);
    await until('the message is there', () => heard.length > 0);
    assert.equal(heard[0], 'back');
  });
}

function sorted(items) {
  return [...items].sort();
}
