import { scryptSync, timingSafeEqual } from 'node:crypto';
import sqlite from 'node-sqlite3-wasm';
import { log } from './log.js';

const GOODS = [
  ['Honey', 690], ['Olive oil', 1150], ['Flour', 140], ['Rye bread', 420], ['Oats', 210],
  ['Lentils', 260], ['Chickpeas', 240], ['Rice', 330], ['Pasta', 190], ['Tomatoes', 170],
  ['Anchovies', 390], ['Capers', 350], ['Mustard', 280], ['Vinegar', 310], ['Sea salt', 230],
  ['Pepper', 480], ['Coffee', 890], ['Black tea', 560], ['Chocolate', 320], ['Walnuts', 620],
];
const SIZES = [['small', 1], ['medium', 2], ['large', 3]];
const USERS = [['ada', 'analytical'], ['grace', 'nanosecond']];

/**
 * The shop's database: SQLite, in a file that several processes may share. Every statement is printed, for the
 * whole point of a cache is to see fewer of them.
 */
export class ShopDatabase {
  #db;

  constructor(file) {
    this.#db = new sqlite.Database(file);
    this.#db.exec('PRAGMA busy_timeout = 5000');
    this.#create();
  }

  /** All products, by id. */
  products() {
    return this.#all('SELECT id, name, price FROM products ORDER BY id');
  }

  /** One product, or null. */
  product(id) {
    return this.#get('SELECT id, name, price FROM products WHERE id = ?', [id]);
  }

  /** Sets a price in cents and returns the product as it is now, or null. */
  setPrice(id, price) {
    return this.#get('UPDATE products SET price = ? WHERE id = ? RETURNING id, name, price', [price, id], 'WRITE');
  }

  /** The stock the database knows of, `{ id, stock }`, or null. */
  stock(id) {
    return this.#get('SELECT id, stock FROM products WHERE id = ?', [id]);
  }

  setStock(id, stock) {
    this.#get('UPDATE products SET stock = ? WHERE id = ?', [stock, id], 'WRITE');
  }

  /** The user with this name and password, `{ id, username }`, or null. */
  authenticate(username, password) {
    const user = this.#get('SELECT id, username, salt, hash FROM users WHERE username = ?', [username]);
    // An unknown name costs as much time as a wrong password: the difference would tell who has an account.
    const hash = scryptSync(password, user?.salt ?? 'nobody', 32);
    return user && timingSafeEqual(hash, user.hash) ? { id: user.id, username: user.username } : null;
  }

  close() {
    this.#db.close();
  }

  #all(sql, values) {
    log('QUERY', sql);
    return this.#db.all(sql, values);
  }

  #get(sql, values, event = 'QUERY') {
    log(event, sql);
    return this.#db.get(sql, values);
  }

  /** Fills an empty database. IMMEDIATE makes a second process wait until the first is done. */
  #create() {
    this.#db.exec('BEGIN IMMEDIATE');
    this.#db.exec(`
      CREATE TABLE IF NOT EXISTS products (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL, stock INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS users (
        id INTEGER PRIMARY KEY, username TEXT NOT NULL UNIQUE, salt TEXT NOT NULL, hash BLOB NOT NULL)`);
    if (this.#db.get('SELECT count(*) AS n FROM products').n === 0) this.#seed();
    this.#db.exec('COMMIT');
  }

  #seed() {
    for (const [size, factor] of SIZES) {
      for (const [good, price] of GOODS) {
        this.#db.run('INSERT INTO products (name, price, stock) VALUES (?, ?, 20)', [`${good}, ${size}`, price * factor]);
      }
    }
    for (const [username, password] of USERS) {
      // A fixed salt would do harm in a real shop; here it keeps every fresh database alike.
      const salt = `salt of ${username}`;
      this.#db.run('INSERT INTO users (username, salt, hash) VALUES (?, ?, ?)', [username, salt, scryptSync(password, salt, 32)]);
    }
  }
}
