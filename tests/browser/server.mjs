// A product of its own for the browser: a fresh folder, free ports, accounts made by the operator's command.
import { execFileSync, spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

export const password = 'correct horse battery';
const program = process.env.BROWSER_MESSENGER;

/** Starts it; `staff` is a list of [name, role]. */
export async function start(staff) {
  const folder = mkdtempSync(path.join(tmpdir(), 'messenger-browser-'));
  const data = path.join(folder, 'data');
  const env = { ...process.env, RATE_LIMIT_MAX: '100000', RATE_LIMIT_AUTH_MAX: '100000' };
  env.RELAY_CONTROL_SECRET = randomBytes(32).toString('hex');
  for (const [name, role] of staff) {
    const args = ['create-admin', '--email', `${name}@staff.example`, '--role', role, '--data', data];
    execFileSync(program, args, { env, input: `${password}\n` });
  }
  const args = ['up', '--json', '--demo', '--shards', '1', '--data', data];
  args.push('--relay-port', '0', '--api-port', '0', '--console-port', '0');
  const log = openSync(path.join(folder, 'log'), 'w');
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', log] });
  const lines = createInterface({ input: child.stdout });
  const ready = await new Promise((resolve, reject) => {
    lines.once('line', (line) => resolve(JSON.parse(line)));
    child.once('exit', (code) => reject(new Error(`the product ended with ${code}; see ${folder}/log`)));
  });
  child.removeAllListeners('exit');
  const ended = new Promise((resolve) => {
    child.once('exit', resolve);
  });
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  /** Alice says so many things to Bob. */
  const say = (count) => {
    const [alice] = ready.demo.users;
    const how = ['--relay', ready.relay_wss, '--api', ready.api, '--ca', ready.ca, '--email', alice.email];
    how.push('--password-file', alice.password_file, '--conversation', ready.demo.conversation);
    const lines = Array.from({ length: count }, (_, n) => `message ${n}\n`).join('');
    execFileSync(program, ['send', '--stdin', ...how], { env, input: lines, stdio: ['pipe', 'ignore', 'inherit'] });
  };
  return { ended, ready, origin: ready.console, api: ready.api, data, say, stop };
}

/** The code that an authenticator shows (RFC 6238), some steps from now. */
export function code(secret, steps = 0) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret.replace(/\s/g, '')].map((c) => letters.indexOf(c).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + steps));
  const mac = createHmac('sha1', key).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1000000).padStart(6, '0');
}
