import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './children.js';
import { freePort } from './ports.js';

/** Where Debian puts the programs, one folder for each version. */
const VERSIONS = '/usr/lib/postgresql';

const newest = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => a - b).at(-1) : undefined;
const programs = newest && join(VERSIONS, newest, 'bin');

/** Why there cannot be one; false if it can. */
export const noPostgres = !(programs && existsSync(join(programs, 'initdb'))) && 'there is no PostgreSQL';

/** It refuses to run as root: then it is the user that Debian's package has made for it. */
function user() {
  if (process.getuid() !== 0) return {};
  const id = (kind) => Number(execFileSync('id', [kind, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** A PostgreSQL of its own, in a folder that goes with it. */
export class Postgres {
  #child;
  #folder = mkdtempSync(join(tmpdir(), 'larder-postgres-'));
  url;

  static async start() {
    const postgres = new Postgres();
    const [folder, as, port] = [postgres.#folder, user(), await freePort()];
    if (as.uid !== undefined) chownSync(folder, as.uid, as.gid);
    const data = join(folder, 'data');
    const made = new Child(join(programs, 'initdb'), ['-D', data, '-A', 'trust', '-U', 'shop', '-E', 'UTF8', '--no-sync'], { ...as, cwd: folder });
    const { code } = await made.end();
    if (code !== 0) throw new Error(`initdb ended with ${code}:\n${made.output}`);
    const options = ['-D', data, '-p', String(port), '-k', folder, '-h', '127.0.0.1', '-F'];
    postgres.#child = new Child(join(programs, 'postgres'), options, { ...as, cwd: folder });
    await postgres.#child.ready('ready to accept connections');
    postgres.url = `postgres://shop@127.0.0.1:${port}/postgres`;
    return postgres;
  }

  async destroy() {
    await this.#child?.stop('SIGINT');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
