import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './children.js';
import { freePort } from './ports.js';
import { until } from './until.js';

const SERVER = '/usr/bin/redis-server';
const CLI = '/usr/bin/redis-cli';

/** Why there cannot be one; false if it can. */
export const noRedis = !(existsSync(SERVER) && existsSync(CLI)) && 'there is no redis-server';

/** A server of Debian's redis-server, alone. */
export class Redis {
  #child;
  #folder = mkdtempSync(join(tmpdir(), 'larder-redis-'));
  port;

  static async start(options = []) {
    const redis = new Redis();
    redis.port = await freePort();
    const args = ['--port', String(redis.port), '--bind', '127.0.0.1', '--dir', redis.#folder, '--save', '', ...options];
    redis.#child = new Child(SERVER, args);
    await redis.#child.ready('Ready to accept connections');
    return redis;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  async destroy() {
    await this.#child?.stop('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A cluster of redis-servers: three primaries, each with a replica. */
export class Cluster {
  #nodes = [];

  static async start() {
    const cluster = new Cluster();
    for (let n = 0; n < 6; n += 1) cluster.#nodes.push(await Redis.start(['--cluster-enabled', 'yes']));
    const addresses = cluster.#nodes.map(({ port }) => `127.0.0.1:${port}`);
    execFileSync(CLI, ['--cluster', 'create', ...addresses, '--cluster-replicas', '1', '--cluster-yes'], { stdio: 'pipe' });
    const info = ({ port }) => execFileSync(CLI, ['-p', String(port), 'cluster', 'info'], { encoding: 'utf8' });
    await until('the cluster is whole', () => cluster.#nodes.every((node) => info(node).includes('cluster_state:ok')));
    return cluster;
  }

  get url() {
    return `redis-cluster://${this.#nodes.slice(0, 3).map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  }

  async destroy() {
    for (const node of this.#nodes) await node.destroy();
  }
}
