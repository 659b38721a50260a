import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc'];

const CONFIG = `
[req]
distinguished_name = name
prompt = no
[name]
CN = Larder tests
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
`;

let made;

/**
 * Files of a certificate for localhost and 127.0.0.1, and of the authority that signed it, made once per process by
 * `openssl` and deleted with it.
 *
 * @returns {{ca: string, cert: string, key: string}} paths of PEM files
 */
export function certificates() {
  made ??= make();
  return made;
}

function make() {
  const dir = mkdtempSync(join(tmpdir(), 'larder-tls-'));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  const file = (name) => join(dir, name);
  writeFileSync(file('openssl.cnf'), CONFIG);

  const request = (extensions, key, out, ...more) =>
    execFileSync(
      'openssl',
      ['req', '-x509', '-days', '2', ...KEY, '-config', file('openssl.cnf'), '-extensions', extensions,
        '-keyout', key, '-out', out, ...more],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
  request('authority', file('ca.key'), file('ca.crt'));
  request('server', file('server.key'), file('server.crt'), '-CA', file('ca.crt'), '-CAkey', file('ca.key'));
  return { ca: file('ca.crt'), cert: file('server.crt'), key: file('server.key') };
}
