// Debian's redis-cli, as an operator uses it, against every set-up of the server.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Cli } from './lib/cli.js';
import { MODES, Server } from './lib/server.js';
import { until } from './lib/until.js';

for (const mode of MODES) {
  describe(`redis-cli, ${mode} server`, () => operator(mode));
}

function operator(mode) {
  let server, cli;
  before(async () => {
    server = await Server.start(mode);
    cli = new Cli(server);
  });
  after(() => server.destroy());
  beforeEach(() => cli.run('flushall'));

  it('ping', async () => {
    assert.equal(await cli.run('ping'), 'PONG');
    assert.equal(await cli.run('-3', 'ping'), 'PONG');
    assert.equal(await cli.run('-r', '3', 'ping'), 'PONG\nPONG\nPONG');
  });

  it('password: -a, --pass, a wrong one, none', async (t) => {
    if (!server.password) return t.skip('this server has no password');
    const anonymous = new Cli({ cliArgs: server.cliArgs });
    assert.match(await anonymous.run('ping'), /^NOAUTH Authentication required\.$/);
    assert.match(await anonymous.run('-a', 'wrong', 'ping'), /WRONGPASS/);
    assert.equal(await anonymous.run('--no-auth-warning', '-a', server.password, 'ping'), 'PONG');
    assert.equal(await anonymous.run('--user', 'default', '--pass', server.password, '--no-auth-warning', 'ping'), 'PONG');
    const { output } = await anonymous.pipe(`auth "${server.password}"\nping\n`);
    assert.equal(output, 'OK\nPONG');
  });

  it('prints every kind of reply', async () => {
    await cli.run('rpush', 'list', 'a', 'b');
    await cli.run('hset', 'hash', 'field', 'value');
    await cli.run('zadd', 'board', '1.5', 'Ada');
    assert.equal(await cli.run('--no-raw', 'lrange', 'list', '0', '-1'), '1) "a"\n2) "b"');
    assert.equal(await cli.run('--no-raw', 'get', 'missing'), '(nil)');
    assert.equal(await cli.run('--no-raw', 'exists', 'list'), '(integer) 1');
    assert.equal(await cli.run('--no-raw', '-3', 'hgetall', 'hash'), '1# "field" => "value"');
    assert.equal(await cli.run('--no-raw', '-3', 'zscore', 'board', 'Ada'), '(double) 1.5');
    assert.equal(await cli.run('--json', 'hgetall', 'hash'), '{"field":"value"}');
    assert.equal(await cli.run('--csv', 'lrange', 'list', '0', '-1'), '"a","b"');
    assert.match(await cli.run('incr', 'list'), /^WRONGTYPE /);
    assert.equal((await cli.pipe('', '-e', 'incr', 'list')).code, 1);
  });

  it('monitor', async () => {
    const monitor = cli.start('monitor');
    await monitor.ready('OK');
    await cli.run('set', 'watched', 'say "hi"\n');
    await cli.run('-n', '3', 'get', 'watched');
    await until('both commands are shown', () => /"get" "watched"/.test(monitor.output));
    await monitor.stop();
    const line = (db, text) => new RegExp(String.raw`^\d+\.\d{6} \[${db} 127\.0\.0\.1:\d+\] ${text}$`, 'm');
    assert.match(monitor.output, line(0, String.raw`"set" "watched" "say \\"hi\\"\\n"`));
    assert.match(monitor.output, line(3, '"get" "watched"'));
    assert.doesNotMatch(monitor.output, /battery/); // the password of the server, which was sent in between
  });

  it('info memory', async () => {
    const info = await cli.run('info', 'memory');
    assert.match(info, /^# Memory\r?$/m);
    assert.match(info, /^used_memory:[1-9]\d*\r?$/m);
    assert.match(info, /^used_memory_human:[\d.]+[BKMG]\r?$/m);
    assert.match(info, /^maxmemory:0\r?$/m);
    assert.match(info, /^maxmemory_policy:noeviction\r?$/m);
    assert.doesNotMatch(info, /^# Server/m);
  });

  it('slowlog get 10', async () => {
    await cli.run('config', 'set', 'slowlog-log-slower-than', '0');
    await cli.run('slowlog', 'reset');
    for (let i = 0; i < 12; i++) await cli.run('set', `slow:${i}`, 'value');
    const entries = JSON.parse(await cli.run('--json', 'slowlog', 'get', '10'));
    await cli.run('config', 'set', 'slowlog-log-slower-than', '10000');

    assert.equal(entries.length, 10);
    for (const [id, at, micros, args, client, name] of entries) {
      assert.ok(Number.isInteger(id) && Number.isInteger(at) && Number.isInteger(micros));
      assert.ok(Array.isArray(args) && typeof name === 'string');
      assert.match(client, /^127\.0\.0\.1:\d+$/);
    }
    // Newest first. AUTH and HELLO of redis-cli's own connections stand between ours.
    const sets = entries.map(([, , , args]) => args).filter(([name]) => name === 'set');
    assert.deepEqual(sets[0], ['set', 'slow:11', 'value']);
    assert.ok(!JSON.stringify(entries).includes('battery'));
  });

  it('--stat', async () => {
    await cli.run('set', 'key', 'value');
    const stat = cli.onTerminal('--stat', '-i', '0.1'); // into a pipe it writes by the block
    const line = /^(\d+)\s+[\d.]+[BKMG]\s+\d+\s+\d+\s+\d+ \(\+\d+\)\s+\d+\s*$/;
    const lines = () => stat.lines.map((each) => each.trim()).filter((each) => line.test(each));
    await until('there are two lines', () => lines().length >= 2);
    await stat.stop();
    assert.match(stat.output, /^-+ data -+ -+ load -+ - child -\r?$/m);
    assert.equal(line.exec(lines()[0])[1], '1');
  });

  it('--bigkeys', async () => {
    await cli.run('set', 'small', 'x');
    await cli.run('set', 'large', 'x'.repeat(1000));
    await cli.run('rpush', 'list', 'a', 'b', 'c');
    await cli.run('sadd', 'set', 'a', 'b');
    await cli.run('hset', 'hash', 'field', 'value');
    await cli.run('zadd', 'board', '1', 'a', '2', 'b');
    const report = await cli.run('--bigkeys');
    assert.match(report, /Sampled 6 keys in the keyspace!/);
    for (const line of [
      'Biggest string found \'"large"\' has 1000 bytes',
      'Biggest\\s+list found \'"list"\' has 3 items',
      'Biggest\\s+set found \'"set"\' has 2 members',
      'Biggest\\s+hash found \'"hash"\' has 1 fields',
      'Biggest\\s+zset found \'"board"\' has 2 members',
    ]) {
      assert.match(report, new RegExp(line));
    }
  });

  it('--scan with a pattern', async () => {
    const { output } = await cli.pipe(
      Array.from({ length: 500 }, (_, i) => `set ${i % 2 ? 'odd' : 'even'}:${i} x\n`).join(''),
    );
    assert.equal(output, Array(500).fill('OK').join('\n'));
    const found = (await cli.run('--scan', '--pattern', 'odd:*')).split('\n');
    assert.equal(new Set(found).size, 250);
    assert.ok(found.every((key) => key.startsWith('odd:')));
    assert.equal((await cli.run('--scan')).split('\n').length, 500);
  });

  it('--pipe', async () => {
    const commands = Array.from({ length: 1000 }, (_, i) => `SET bulk:${i} value\r\n`).join('');
    const { code, output } = await cli.pipe(commands, '--pipe');
    assert.equal(code, 0);
    assert.match(output, /errors: 0, replies: 1000/);
    assert.equal(await cli.run('dbsize'), '1000');
  });

  it('-x reads the last argument from its input', async () => {
    await cli.pipe('line one\nline two', '-x', 'set', 'text');
    assert.equal(await cli.run('strlen', 'text'), '17');
  });

  it('subscribe', async () => {
    const subscriber = cli.start('subscribe', 'chatroom');
    await subscriber.ready('chatroom');
    assert.equal(await cli.run('publish', 'chatroom', 'hello'), '1');
    await until('the message is there', () => subscriber.output.includes('hello'));
    await subscriber.stop();
    assert.deepEqual(subscriber.lines, ['subscribe', 'chatroom', '1', 'message', 'chatroom', 'hello']);
  });

  it('a transaction from a pipe', async () => {
    const { output } = await cli.pipe('multi\nset a 1\nincr a\nexec\n');
    assert.equal(output, 'OK\nQUEUED\nQUEUED\nOK\n2');
  });

  it('a session on a terminal', async () => {
    const terminal = cli.onTerminal();
    const prompt = (state) => `127.0.0.1:${server.port}${state}> `;
    // Types a line, and waits for the answer and the next prompt: what is typed before that, the terminal drops.
    const say = async (line, answer, state = '') => {
      terminal.output = '';
      terminal.write(`${line}\r`);
      await until(`"${line}" is answered with ${answer}`, () => {
        const text = terminal.output.replace(/\x1b\[[\d;]*[A-Za-z]/g, ''); // without colours and cursor movements
        const found = answer.exec(text);
        return found && text.includes(prompt(state), found.index + found[0].length);
      });
    };
    await terminal.ready(prompt(''));
    await say('set greeting hello', /^OK\r\n/m);
    await say('get greeting', /^"hello"\r\n/m);
    await say('select 2', /^OK\r\n/m, '[2]');
    await say('multi', /^OK\r\n/m, '[2](TX)');
    await say('set in:transaction x', /^QUEUED\r\n/m, '[2](TX)');
    await say('discard', /^OK\r\n/m, '[2]');
    // From COMMAND DOCS: the arguments, the version, and the group.
    await say('help getset', /GETSET key value[^]*since: 1\.0\.0[^]*group: string/i, '[2]');
    await say('hello 3', /^1# "server" => "redis"\r\n/m, '[2]');
    terminal.write('quit\r');
    assert.equal((await terminal.end()).code, 0);
  });

  it('shutdown saves', async () => {
    await cli.run('set', 'kept', 'value');
    await cli.run('shutdown');
    await server.ended();
    await server.resume();
    assert.equal(await cli.run('get', 'kept'), 'value');
  });
}
