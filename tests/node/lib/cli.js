import { Child } from './children.js';

const ENV = { PATH: process.env.PATH, REDISCLI_HISTFILE: '/dev/null', REDISCLI_RCFILE: '/dev/null' };

/** redis-cli against a server, with the password in the environment, as its manual advises. */
export class Cli {
  #server;

  constructor(server) {
    this.#server = server;
  }

  /** Starts it. Input is written, and output read, by the caller. */
  start(...args) {
    return new Child('redis-cli', [...this.#server.cliArgs, ...args], { env: this.#env });
  }

  /** Runs it to its end and returns what it printed, both streams, trimmed. */
  async run(...args) {
    return (await this.pipe('', ...args)).output;
  }

  /** Runs it to its end with this input. */
  async pipe(input, ...args) {
    const child = this.start(...args);
    child.write(input);
    const { code, error } = await child.end();
    if (error) throw error;
    return { code, output: child.output.trim() };
  }

  /** Starts it on a terminal of its own, made by script(1), where it shows a prompt and fetches COMMAND DOCS. */
  onTerminal(...args) {
    const command = ['redis-cli', ...this.#server.cliArgs, ...args].map((arg) => `'${arg}'`).join(' ');
    // Without a width, redis-cli asks the terminal where its cursor is, and there is nobody to tell.
    return new Child('script', ['-qec', `stty cols 200 rows 50; exec ${command}`, '/dev/null'], { env: { ...this.#env, TERM: 'xterm' } });
  }

  get #env() {
    return { ...ENV, ...(this.#server.password && { REDISCLI_AUTH: this.#server.password }) };
  }
}
