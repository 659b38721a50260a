import { createServer } from 'node:http';
import session from 'express-session';
import Ioredis from 'ioredis5';
import { createClient as createClient5 } from 'redis5';
import { createClient as createClient6 } from 'redis6';
import signature from 'cookie-signature';

// express-session with connect-redis, for a program in another language to share sessions with.
//
//     GET /member?name=N           the member as JSON
//     GET /change?set={...}        sets these members
//     GET /delete?name=N           deletes a member
//     GET /login?user=U            regenerate, then `user`
//     GET /logout                  destroy
//     GET /idle                    changes nothing
//     GET /slow?user=U             sets `user` and answers when it is told to go on
//     GET /waiting                 how many of those there are
//     GET /go                      tells all of them
//     POST /sign [[sid, secret]]   the cookie values for them

// COOKIE holds settings of the cookie, as JSON.
//
// Each version of connect-redis with a client that people have beside it; 9 unless CONNECT_REDIS says otherwise.
const url = process.env.REDIS_URL;
const [name, client] = {
  7: () => ['connect-redis7', new Ioredis(url)],
  8: () => ['connect-redis8', createClient5({ url })],
  9: () => ['connect-redis', createClient6({ url })],
  10: () => ['connect-redis10', createClient6({ url })],
}[process.env.CONNECT_REDIS ?? 9]();
if (!(client instanceof Ioredis)) await client.connect();
const store = await import(name);
// Version 7 has it as its default, wrapped once more when it is loaded as CommonJS.
const RedisStore = store.RedisStore ?? store.default.default ?? store.default;
const maxAge = process.env.MAX_AGE ? Number(process.env.MAX_AGE) : undefined;
const middleware = session({
  store: new RedisStore({ client }),
  secret: process.env.SECRETS.split(','),
  resave: false,
  saveUninitialized: false,
  // Whoever asks says whether it came over TLS.
  proxy: true,
  cookie: { ...(maxAge && { maxAge }), ...JSON.parse(process.env.COOKIE ?? '{}') },
});

const done = (call) => new Promise((resolve, reject) => call((error) => (error ? reject(error) : resolve())));

async function body(request) {
  // Otherwise a character whose bytes come in two pieces would be lost.
  request.setEncoding('utf8');
  let text = '';
  for await (const chunk of request) text += chunk;
  return JSON.parse(text);
}

const waiting = [];

const routes = {
  '/member': (request, query) => request.session[query.get('name')] ?? null,
  '/change': (request, query) => Object.assign(request.session, JSON.parse(query.get('set'))) && null,
  '/delete': (request, query) => delete request.session[query.get('name')],
  '/login': async (request, query) => {
    await done((then) => request.session.regenerate(then));
    request.session.user = query.get('user');
  },
  '/logout': (request) => done((then) => request.session.destroy(then)),
  '/idle': () => null,
  '/slow': async (request, query) => {
    request.session.user = query.get('user');
    await new Promise((goOn) => waiting.push(goOn));
  },
  '/waiting': () => waiting.length,
  '/go': () => waiting.splice(0).forEach((goOn) => goOn()),
  '/sign': async (request) =>
    (await body(request)).map(([sid, secret]) => encodeURIComponent(`s:${signature.sign(sid, secret)}`)),
};

const server = createServer((request, response) => {
  middleware(request, response, async (error) => {
    try {
      if (error) throw error;
      const { pathname, searchParams } = new URL(request.url, 'http://localhost');
      const answer = (await routes[pathname](request, searchParams)) ?? null;
      response.end(JSON.stringify(answer));
    } catch (why) {
      response.statusCode = 500;
      response.end(String(why));
    }
  });
});
server.listen(0, '127.0.0.1', () => console.log(`LISTENING ${server.address().port}`));
// Whoever started this holds the other end of its input, and is gone when it closes.
process.stdin.on('end', () => process.exit(0)).resume();
