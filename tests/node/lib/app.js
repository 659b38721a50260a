import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './children.js';

const HOME = fileURLToPath(new URL('../../../examples/express', import.meta.url));

/** Client packages the application is run with: the name of each, and what it imports. */
export const CLIENTS = {
  'redis 5': import.meta.resolve('redis5'),
  'redis 6': import.meta.resolve('redis6'),
};

/** A folder for the application's database, which several of its processes may share. */
export class DatabaseFile {
  #dir = mkdtempSync(join(tmpdir(), 'larder-shop-'));
  path = join(this.#dir, 'shop.db');

  remove() {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/**
 * One process of the tutorial application.
 *
 * @example
 *     const app = await App.start({ server, database, client: 'redis 6', env: { CACHE_TTL: '1' } });
 *     const { status, body } = await app.get('/api/products');
 *     app.count('QUERY');
 */
export class App {
  #child;
  #origin;

  static async start({ server, database, client = 'redis 5', env = {} }) {
    if (!existsSync(join(HOME, 'node_modules'))) throw new Error(`run npm ci in ${HOME} first`);
    const app = new App();
    app.#child = new Child(process.execPath, ['src/server.js'], {
      cwd: HOME,
      env: {
        PATH: process.env.PATH,
        PORT: '0',
        REDIS_URL: `${server.mode === 'tls' ? 'rediss' : 'redis'}://${server.host}:${server.port}`,
        ...(server.password && { REDIS_PASSWORD: server.password }),
        ...(server.caFile && { REDIS_CA_FILE: server.caFile }),
        REDIS_PACKAGE: CLIENTS[client],
        DB_FILE: database.path,
        SESSION_SECRET: 'only for tests',
        ...env,
      },
    });
    await app.#child.ready('LISTENING');
    app.#origin = /LISTENING (\S+)/.exec(app.#child.output)[1].replace('localhost', '127.0.0.1');
    return app;
  }

  /** How many lines of this kind the application has printed: HIT, MISS, QUERY, WRITE, ... */
  count(event) {
    return this.#child.lines.filter((line) => line.startsWith(`${event} `)).length;
  }

  get output() {
    return this.#child.output;
  }

  get(path, options) {
    return this.#request('GET', path, undefined, options);
  }

  post(path, body, options) {
    return this.#request('POST', path, body, options);
  }

  put(path, body, options) {
    return this.#request('PUT', path, body, options);
  }

  /** Opens an event stream: `next()` resolves with the data of the next event, `close()` ends it. */
  async listen(path) {
    const abort = new AbortController();
    const response = await fetch(this.#origin + path, { signal: abort.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    const next = async () => {
      for (;;) {
        const event = /data: (.*)\n\n/.exec(text);
        if (event) {
          text = text.slice(event.index + event[0].length);
          return JSON.parse(event[1]);
        }
        const { value, done } = await reader.read();
        if (done) throw new Error('the stream ended');
        text += value;
      }
    };
    return { next, close: () => abort.abort() };
  }

  /** SIGTERM, and the end in good order. */
  async stop() {
    const { code, signal } = await this.#child.stop('SIGTERM');
    if (code !== 0) throw new Error(`the application ended with ${signal ?? code}:\n${this.output}`);
  }

  /** @param {{cookie?: string}} options a cookie as `cookie` of an earlier answer gave it */
  async #request(method, path, body, { cookie } = {}) {
    const response = await fetch(this.#origin + path, {
      method,
      headers: { ...(body && { 'content-type': 'application/json' }), ...(cookie && { cookie }) },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    return {
      status: response.status,
      cache: response.headers.get('x-cache'),
      cookie: response.headers.get('set-cookie')?.split(';')[0],
      body: text === '' ? undefined : JSON.parse(text),
    };
  }
}
