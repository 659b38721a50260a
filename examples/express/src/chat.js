import { Router } from 'express';
import { log } from './log.js';

const CHANNEL = 'chatroom';

/**
 * A chat room that spans processes: a message is published to a channel, and every process passes what it hears
 * there to the browsers that are connected to it, as server-sent events.
 *
 *     POST /api/chat   { user, text }
 *     GET  /api/chat   the stream
 *
 * @param store a connected client, to publish with
 * @param subscriber another one, to listen with
 */
export async function chat(store, subscriber) {
  const listeners = new Set();
  await subscriber.subscribe(CHANNEL, (message) => {
    log('HEARD', CHANNEL);
    // JSON has no line breaks outside of strings, and escapes those within: one event is one line.
    for (const res of listeners) res.write(`data: ${message}\n\n`);
  });

  const router = Router();

  router.post('/', async (req, res) => {
    const { user, text } = req.body ?? {};
    if (typeof user !== 'string' || typeof text !== 'string') {
      return res.status(400).json({ error: 'user and text are needed' });
    }
    const receivers = await store.publish(CHANNEL, JSON.stringify({ user, text, at: new Date() }));
    log('SAID', CHANNEL);
    res.status(202).json({ receivers });
  });

  router.get('/', (req, res) => {
    res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    res.write(': you are listening\n\n');
    listeners.add(res);
    res.on('close', () => listeners.delete(res));
  });

  /** Ends all streams: they would keep the server from closing. */
  const close = () => listeners.forEach((res) => res.end());

  return { router, close };
}
