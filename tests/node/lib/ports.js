import { once } from 'node:events';
import { createServer } from 'node:net';

// Below the range from which Linux takes the local ports of outgoing connections (32768 and up): a server that is
// started again on its port must not find one of its clients' sockets there.
const [first, last] = (process.env.LARDER_TEST_PORTS ?? '20000-29999').split('-').map(Number);

/** A port of LARDER_TEST_PORTS (`first-last`) that nobody listens on at the moment. */
export async function freePort() {
  const count = last - first + 1;
  const start = Math.floor(Math.random() * count);
  for (let i = 0; i < count; i++) {
    const port = first + ((start + i) % count);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port from ${first} to ${last}`);
}

async function isFree(port) {
  const probe = createServer().listen(port, '127.0.0.1');
  try {
    await once(probe, 'listening');
  } catch {
    return false;
  }
  probe.close();
  await once(probe, 'close');
  return true;
}
