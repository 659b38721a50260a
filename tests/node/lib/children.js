import { spawn } from 'node:child_process';
import { once } from 'node:events';

const running = new Set();

// A test that fails half-way must not leave servers behind.
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/**
 * A child process whose output is kept. It does not keep us running: when a test forgets it, because it failed, this
 * process still ends, and takes the child with it.
 */
export class Child {
  output = '';
  #child;
  #exit;

  constructor(command, args, options = {}) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    running.add(this.#child);
    this.#child.unref();
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.output += text));
      stream.unref();
    }
    this.#child.stdin.unref();
    this.#child.stdin.on('error', () => {}); // it may close its input before we have said everything
    this.#exit = Promise.race([
      once(this.#child, 'close').then(([code, signal]) => ({ code, signal })),
      once(this.#child, 'error').then(([error]) => ({ code: null, signal: null, error })),
    ]);
    this.#exit.then(() => running.delete(this.#child));
  }

  get lines() {
    return this.output.split('\n').filter((line) => line !== '');
  }

  write(text) {
    this.#child.stdin.write(text);
  }

  /** Waits until its output contains `text`. */
  async ready(text) {
    const said = new Promise((resolve) => {
      const look = () => this.output.includes(text) && resolve(true);
      look();
      this.#child.stdout.on('data', look);
      this.#child.stderr.on('data', look);
    });
    const answer = await within(60_000, Promise.race([said, this.#exit]));
    if (answer === true) return;
    const end = answer && (answer.error?.message ?? answer.signal ?? answer.code);
    throw new Error(`${this.#name} ${answer ? `ended (${end}) and` : ''} never said "${text}":\n${this.output}`);
  }

  /** Sends a signal and waits for the end. One that does not end is killed, and that is an error. */
  async stop(signal = 'SIGTERM') {
    this.#child.kill(signal);
    return this.#ended(`end on ${signal}`);
  }

  /** Closes its input and waits for the end. */
  async end() {
    this.#child.stdin.end();
    return this.#ended('end with its input');
  }

  get #name() {
    return this.#child.spawnargs.join(' ');
  }

  async #ended(what) {
    const exit = await within(60_000, this.#exit);
    if (exit) return exit;
    this.#child.kill('SIGKILL');
    throw new Error(`${this.#name} did not ${what}:\n${this.output}`);
  }
}

/** What the promise gives, or undefined after so many milliseconds. Far beyond what is needed: it ends a hang. */
async function within(ms, promise) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
