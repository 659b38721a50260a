import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { certificates } from './certificates.js';
import { Child } from './children.js';
import { freePort } from './ports.js';

/** The ways in which a server is set up, and in which every client has to reach it. */
export const MODES = ['plain', 'password', 'tls'];

const PASSWORD = 'correct horse: battery@staple/%';

/**
 * The server under test: LARDER_SERVER, or else what cargo built here, release before debug. Debian's redis-server
 * passes the same tests: LARDER_SERVER=/usr/bin/redis-server.
 */
function binary() {
  if (process.env.LARDER_SERVER) return process.env.LARDER_SERVER;
  const built = ['release', 'debug'].map((profile) =>
    fileURLToPath(new URL(`../../../target/${profile}/larder-server`, import.meta.url)),
  );
  const found = built.find((path) => existsSync(path));
  if (!found) throw new Error('no server to test: run cargo build --release, or set LARDER_SERVER');
  return found;
}

/**
 * A server in its own directory, on a port that it keeps when it is started again.
 *
 *     const server = await Server.start('tls');
 *     server.url       // rediss://:password@127.0.0.1:port
 *     await server.restart();
 *     await server.destroy();
 */
export class Server {
  host = '127.0.0.1';
  #child;
  #dir = mkdtempSync(join(tmpdir(), 'larder-data-'));
  #args;

  /** @param {'plain'|'password'|'tls'} mode `tls` asks for the password too */
  static async start(mode = 'plain', args = []) {
    for (let attempt = 1; ; attempt++) {
      const server = new Server(mode, args, await freePort());
      try {
        await server.#run();
        return server;
      } catch (error) {
        await server.destroy();
        // Another test process may have been faster to take the port.
        if (attempt === 5 || !/in use/i.test(error.message)) throw error;
      }
    }
  }

  constructor(mode, args, port) {
    this.mode = mode;
    this.port = port;
    this.password = mode === 'plain' ? undefined : PASSWORD;
    this.caFile = mode === 'tls' ? certificates().ca : undefined;
    // An exit on SIGTERM saves when there is a save point. This one never comes while a test is running.
    this.#args = ['--bind', this.host, '--dir', this.#dir, '--save', '86400 1000000', ...this.#listen(), ...args];
  }

  get ca() {
    return this.caFile && readFileSync(this.caFile);
  }

  /** Where to connect, password included. */
  get url() {
    const scheme = this.mode === 'tls' ? 'rediss' : 'redis';
    const password = this.password ? `:${encodeURIComponent(this.password)}@` : '';
    return `${scheme}://${password}${this.host}:${this.port}`;
  }

  /** What redis-cli needs to connect. */
  get cliArgs() {
    const tls = this.mode === 'tls' ? ['--tls', '--cacert', this.caFile] : [];
    return ['-h', this.host, '-p', String(this.port), ...tls];
  }

  /** SIGTERM: saves and ends. */
  async stop() {
    this.#inOrder(await this.#child.stop('SIGTERM'));
  }

  /** Waits until it has ended because somebody told it to. */
  async ended() {
    this.#inOrder(await this.#child.end());
  }

  async restart() {
    await this.stop();
    await this.#run();
  }

  /** Starts again after `stop` or `ended`. */
  async resume() {
    await this.#run();
  }

  async destroy() {
    await this.#child?.stop('SIGKILL');
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #inOrder({ code, signal }) {
    if (code !== 0) throw new Error(`the server ended with ${signal ?? code}:\n${this.#child.output}`);
  }

  async #run() {
    this.#child = new Child(binary(), this.#args);
    await this.#child.ready('Ready to accept connections');
  }

  #listen() {
    const port = String(this.port);
    if (this.mode === 'plain') return ['--port', port];
    const password = ['--requirepass', this.password];
    if (this.mode === 'password') return ['--port', port, ...password];
    const { ca, cert, key } = certificates();
    return [
      '--port', '0', '--tls-port', port, '--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', ca,
      '--tls-auth-clients', 'no', ...password,
    ];
  }
}
