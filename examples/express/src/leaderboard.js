import { Router } from 'express';

const KEY = 'leaderboard';

/**
 * Best scores. A sorted set keeps them in order, whatever their number.
 *
 *     POST /api/leaderboard   { player, score }
 *     GET  /api/leaderboard   the first ten
 */
export function leaderboard(store) {
  const router = Router();

  router.post('/', async (req, res) => {
    const { player, score } = req.body ?? {};
    if (typeof player !== 'string' || !Number.isFinite(score)) {
      return res.status(400).json({ error: 'player and score are needed' });
    }
    // GT: a worse result than one's best changes nothing.
    await store.zAdd(KEY, { value: player, score }, { comparison: 'GT' });
    const rank = await store.zRevRank(KEY, player);
    res.status(201).json({ player, rank: rank + 1 });
  });

  router.get('/', async (req, res) => {
    const top = await store.zRangeWithScores(KEY, 0, 9, { REV: true });
    res.json(top.map(({ value, score }, index) => ({ rank: index + 1, player: value, score })));
  });

  return router;
}
