import { log } from './log.js';

/**
 * The three ways to keep a cache and a database together. All of them hold JSON under a key.
 *
 * - Cache-aside: look in the cache; on a miss ask the database and leave the answer in the cache for a while.
 * - Write-through: a write changes the database and the cache together, so the next read is a hit, and right.
 * - Write-back: a write changes the cache and a queue, and is answered; the database learns of it later. Fast,
 *   and the database is behind for as long as the queue is not empty.
 */
export class Cache {
  #store;
  #enabled;
  #ttl;
  #loading = new Map();

  /**
   * @param store a connected client
   * @param {{enabled: boolean, ttlSeconds: number}} options
   */
  constructor(store, { enabled, ttlSeconds }) {
    this.#store = store;
    this.#enabled = enabled;
    this.#ttl = { expiration: { type: 'EX', value: ttlSeconds } };
  }

  /**
   * Cache-aside. Requests that miss at the same time share one call of `load`: without that, the moment a popular
   * key expires, every request of that moment would ask the database the same question.
   *
   * @returns {Promise<{value: any, hit: boolean}>} a missing row is null, and is not kept
   */
  async aside(key, load) {
    if (!this.#enabled) return { value: await load(), hit: false };

    const cached = await this.#store.get(key);
    if (cached !== null) {
      log('HIT', key);
      return { value: JSON.parse(cached), hit: true };
    }

    log('MISS', key);
    let loading = this.#loading.get(key);
    if (!loading) {
      loading = this.#fill(key, load).finally(() => this.#loading.delete(key));
      this.#loading.set(key, loading);
    }
    return { value: await loading, hit: false };
  }

  /**
   * Write-through. The database goes first: if it refuses, the cache still tells the truth.
   *
   * @param {string[]} stale other keys that show the old value, and have to go
   */
  async through(key, write, stale = []) {
    const value = await write();
    if (value === null || !this.#enabled) return value;
    const together = this.#store.multi().set(key, JSON.stringify(value), this.#ttl);
    if (stale.length > 0) together.del(stale);
    await together.exec();
    log('CACHED', key);
    return value;
  }

  async #fill(key, load) {
    const value = await load();
    if (value !== null) await this.#store.set(key, JSON.stringify(value), this.#ttl);
    return value;
  }
}

const QUEUE = 'write-back:queue';
const WORKING = 'write-back:working';
const LOCK = 'write-back:lock';

/**
 * Write-back. The cached value and the job that will write it to the database are stored in one transaction: there
 * is never one without the other, and both outlive this process.
 *
 * Any number of processes may run a worker. A lock that expires by itself lets one of them work at a time, so that
 * jobs reach the database in the order in which they were written. A job moves to a second list while it is being
 * done and leaves that only afterwards: if the process dies in between, the next one finds the job there and does it
 * again, which does no harm because a job carries the value and not a difference.
 */
export class WriteBack {
  #store;
  #apply;
  #ttl;
  #interval;
  #timer;
  #round = Promise.resolve();

  /**
   * @param store a connected client
   * @param {(job: any) => void} apply writes one job to the database
   * @param {{intervalMs: number, ttlSeconds: number}} options
   */
  constructor(store, apply, { intervalMs, ttlSeconds }) {
    this.#store = store;
    this.#apply = apply;
    this.#ttl = ttlSeconds;
    this.#interval = intervalMs;
    this.#schedule();
  }

  /** Changes the cache now and the database later. The value has no TTL until the database has it too. */
  async write(key, value) {
    await this.#store
      .multi()
      .set(key, JSON.stringify(value))
      .rPush(QUEUE, JSON.stringify({ key, value }))
      .exec();
    log('QUEUED', key);
  }

  /** Stops after the round that is running. What is still queued waits in the store for the next process. */
  async stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    await this.#round;
  }

  #schedule() {
    this.#timer = setTimeout(() => {
      this.#round = this.#flush()
        .catch((error) => log('ERROR', `write-back: ${error.message}`))
        .finally(() => this.#timer && this.#schedule());
    }, this.#interval);
  }

  async #flush() {
    if ((await this.#store.exists([QUEUE, WORKING])) === 0) return;
    const lock = { condition: 'NX', expiration: { type: 'PX', value: Math.ceil(this.#interval / 2) } };
    if ((await this.#store.set(LOCK, process.pid, lock)) === null) return;

    for (const job of await this.#store.lRange(WORKING, 0, -1)) await this.#finish(job);
    for (;;) {
      const job = await this.#store.lMove(QUEUE, WORKING, 'LEFT', 'RIGHT');
      if (job === null) return;
      await this.#finish(job);
    }
  }

  async #finish(job) {
    const { key, value } = JSON.parse(job);
    this.#apply(value);
    await this.#store.multi().lRem(WORKING, 1, job).expire(key, this.#ttl).exec();
    log('FLUSHED', key);
  }
}
