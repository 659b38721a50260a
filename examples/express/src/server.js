import { once } from 'node:events';
import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { accounts } from './accounts.js';
import { Cache, WriteBack } from './cache.js';
import { chat } from './chat.js';
import { readConfig } from './config.js';
import { ShopDatabase } from './database.js';
import { leaderboard } from './leaderboard.js';
import { log } from './log.js';
import { products } from './products.js';
import { connectAnother, connectStore, disconnect, stopReconnecting } from './store.js';

const config = readConfig();
const database = new ShopDatabase(config.databaseFile);
const store = await connectStore(config.redis);
const subscriber = await connectAnother(store);
const connections = [subscriber, store];

const cache = new Cache(store, config.cache);
const writeBack = new WriteBack(store, ({ id, stock }) => database.setStock(id, stock), {
  intervalMs: config.writeBackMs,
  ttlSeconds: config.cache.ttlSeconds,
});
const room = await chat(store, subscriber);

const app = express();
app.use(express.json());
// These three need to know nobody; only what comes after them reads a session.
app.use('/api/products', products({ database, cache, writeBack }));
app.use('/api/chat', room.router);
app.use('/api/leaderboard', leaderboard(store));
app.use(
  session({
    store: new RedisStore({ client: store }),
    secret: config.session.secret,
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: config.session.maxAgeMs, sameSite: 'lax' },
  }),
);
app.use(accounts({ database }));
app.use((error, req, res, next) => {
  if (res.headersSent) return next(error);
  const status = error.status ?? 500;
  if (status >= 500) log('ERROR', error.message);
  res.status(status).json({ error: status >= 500 ? 'something went wrong' : error.message });
});

const server = app.listen(config.port, (error) => {
  if (error) throw error;
  log('LISTENING', `http://localhost:${server.address().port}`);
});

/** Finishes what was begun, in the order in which things depend on each other. */
async function shutDown() {
  server.close();
  room.close();
  connections.forEach(stopReconnecting);
  await once(server, 'close');
  await writeBack.stop();
  await Promise.all(connections.map(disconnect));
  database.close();
  log('STOPPED', 'all is written');
}

process.once('SIGTERM', shutDown);
process.once('SIGINT', shutDown);
