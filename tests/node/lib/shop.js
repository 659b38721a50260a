import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './children.js';

const BUILT = ['release', 'debug'].map((profile) => fileURLToPath(new URL(`../../../target/${profile}/shop`, import.meta.url)));
/** Where pictures of pages are kept, to be looked at. */
export const PICTURES = fileURLToPath(new URL('../../../target/x/shop', import.meta.url));

const PROGRAM = process.env.LARDER_SHOP ?? BUILT.find((path) => existsSync(path));
/** Where Debian and others put the browser. */
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export const browserPath = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));

/** Why there is no shop; false if there is. */
export const noShop = !PROGRAM && 'the shop is not built';

/** Why the tests in a browser cannot run here; false if they can. */
export const skip = !browserPath ? 'there is no chromium' : noShop;

mkdirSync(PICTURES, { recursive: true });

/** A process of the shop, in a folder that several of them may share. */
export class Shop {
  #child;
  url;

  static async start(folder, env = {}) {
    const shop = new Shop();
    shop.#child = new Child(PROGRAM, [], {
      cwd: folder,
      env: { PATH: process.env.PATH, SHOP_ADDR: '127.0.0.1:0', NO_COLOR: '1', ...env },
    });
    await shop.#child.ready('the shop is open at');
    shop.url = /open at (http:\S+)/.exec(shop.#child.output)[1];
    return shop;
  }

  get log() {
    return this.#child.output;
  }

  stop(signal) {
    return this.#child.stop(signal);
  }
}

export class Folder {
  path = mkdtempSync(join(tmpdir(), 'larder-shop-'));

  remove() {
    rmSync(this.path, { recursive: true, force: true });
  }
}
