import { readFileSync } from 'node:fs';

/** Everything the shop can be told, read once, from the environment. */
export function readConfig(env = process.env) {
  return {
    port: Number(env.PORT ?? 3000),
    databaseFile: env.DB_FILE ?? 'shop.db',
    redis: {
      // The client library to use; any package with the interface of `redis` 5 will do.
      package: env.REDIS_PACKAGE ?? 'redis',
      // redis://host:port, or rediss://host:port for TLS; the URL may carry a password too.
      url: env.REDIS_URL ?? 'redis://127.0.0.1:6379',
      password: env.REDIS_PASSWORD,
      // The certificate that signed the server's, when it is not one that Node trusts anyway.
      ca: env.REDIS_CA_FILE ? readFileSync(env.REDIS_CA_FILE) : undefined,
    },
    cache: {
      enabled: env.NO_CACHE !== '1',
      ttlSeconds: Number(env.CACHE_TTL ?? 300),
    },
    // How often queued writes go to the database.
    writeBackMs: Number(env.WRITE_BACK_MS ?? 1000),
    session: {
      secret: env.SESSION_SECRET ?? 'change me before anyone else can reach this',
      maxAgeMs: Number(env.SESSION_MAX_AGE ?? 24 * 60 * 60 * 1000),
    },
  };
}
