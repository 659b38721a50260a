import { promisify } from 'node:util';
import { Router } from 'express';

/**
 * Who is there. express-session reads the session of every request from the store and writes it back when it has
 * changed, so any process that shares the store knows the same people.
 *
 *     POST /login     { username, password }
 *     GET  /profile   401 without a session
 *     POST /logout
 */
export function accounts({ database }) {
  const router = Router();

  router.post('/login', async (req, res) => {
    const { username, password } = req.body ?? {};
    if (typeof username !== 'string' || typeof password !== 'string') {
      return res.status(400).json({ error: 'username and password are needed' });
    }
    const user = database.authenticate(username, password);
    if (!user) return res.status(401).json({ error: 'wrong name or password' });

    // A fresh session id: one that somebody planted in this browser before must not become a logged-in one.
    await promisify(req.session.regenerate).call(req.session);
    req.session.userId = user.id;
    req.session.username = user.username;
    res.json({ userId: user.id, username: user.username });
  });

  router.get('/profile', (req, res) => {
    const { userId, username } = req.session;
    if (userId === undefined) return res.status(401).json({ error: 'please log in' });
    res.json({ userId, username });
  });

  router.post('/logout', async (req, res) => {
    await promisify(req.session.destroy).call(req.session);
    res.clearCookie('connect.sid').status(204).end();
  });

  return router;
}
