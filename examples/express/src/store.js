import { log } from './log.js';

/**
 * Connects to the server. The client connects again by itself whenever it has to, and keeps commands waiting
 * meanwhile; the only thing we must do is listen to 'error', because an event of that name without a listener
 * ends a Node process.
 */
export async function connectStore({ package: name, url, password, ca }) {
  const { createClient } = await import(name);
  const client = createClient({ url, password, ...(ca && { socket: { ca } }) });
  watch(client, 'store');
  await client.connect();
  return client;
}

/**
 * A second connection with the same settings. Pub/sub needs one: while a connection is subscribed, it is busy
 * listening.
 */
export async function connectAnother(client) {
  const another = client.duplicate();
  watch(another, 'subscriber');
  await another.connect();
  return another;
}

/**
 * From now on a lost connection stays lost. What waits for an answer on it fails, and so comes to an end: otherwise
 * the shop could not stop while the server is away.
 */
export function stopReconnecting(client) {
  if (client.isReady) client.once('reconnecting', () => drop(client));
  else drop(client);
}

/** Lets a connection finish what it is doing, if there still is one. */
export async function disconnect(client) {
  if (client.isReady) await client.close();
  else drop(client);
}

function drop(client) {
  if (client.isOpen) client.destroy();
}

function watch(client, name) {
  client.on('error', (error) => log('ERROR', `${name}: ${error.message || error.code}`));
  client.on('ready', () => log('READY', name));
  client.on('reconnecting', () => log('RECONNECTING', name));
}
