import { Router } from 'express';

const LIST = 'products:all';
const keyOf = (id) => `products:${id}`;
const stockKeyOf = (id) => `stock:${id}`;

/**
 * The catalogue.
 *
 *     GET /api/products             cache-aside
 *     GET /api/products/:id         cache-aside
 *     PUT /api/products/:id/price   write-through
 *     GET /api/products/:id/stock   cache-aside
 *     PUT /api/products/:id/stock   write-back
 */
export function products({ database, cache, writeBack }) {
  const router = Router();

  router.param('id', (req, res, next, id) => {
    req.productId = Number(id);
    if (Number.isSafeInteger(req.productId)) next();
    else res.status(404).json({ error: 'no such product' });
  });

  router.get('/', async (req, res) => {
    answer(res, await cache.aside(LIST, () => database.products()));
  });

  router.get('/:id', async (req, res) => {
    const id = req.productId;
    answer(res, await cache.aside(keyOf(id), () => database.product(id)));
  });

  router.put('/:id/price', async (req, res) => {
    const id = req.productId;
    const price = wholeNumber(req.body?.price);
    if (price === null) return res.status(400).json({ error: 'price must be a whole number of cents' });

    const product = await cache.through(keyOf(id), () => database.setPrice(id, price), [LIST]);
    answer(res, { value: product });
  });

  router.get('/:id/stock', async (req, res) => {
    const id = req.productId;
    answer(res, await cache.aside(stockKeyOf(id), () => database.stock(id)));
  });

  router.put('/:id/stock', async (req, res) => {
    const id = req.productId;
    const stock = wholeNumber(req.body?.stock);
    if (stock === null) return res.status(400).json({ error: 'stock must be a whole number' });

    const { value: known } = await cache.aside(keyOf(id), () => database.product(id));
    if (known === null) return answer(res, { value: null });
    await writeBack.write(stockKeyOf(id), { id, stock });
    // 202 Accepted: it is written, but not yet everywhere.
    res.status(202).json({ id, stock });
  });

  return router;
}

function answer(res, { value, hit }) {
  if (hit !== undefined) res.set('X-Cache', hit ? 'HIT' : 'MISS');
  if (value === null) res.status(404).json({ error: 'no such product' });
  else res.json(value);
}

function wholeNumber(value) {
  return Number.isSafeInteger(value) && value >= 0 ? value : null;
}
