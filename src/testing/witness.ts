import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readCheckpoint } from '#domains/ledger/checkpoint.ts';
import { isConsistent } from '#domains/ledger/log-tree.ts';
import { isSignedBy, type NoteVerifier } from '#domains/ledger/signed-note.ts';

/** A witness over HTTP (C2SP tlog-witness), which checks what it gets as a real one does. */
export interface TestWitness {
  readonly url: string;
  readonly verifierKey: string;
  /** The last checkpoint of each origin that it signed. */
  readonly seen: Map<string, { size: number; root: Buffer }>;
  /** Answers with this instead, when it is set. */
  misbehave: { status: number; body: string } | undefined;
  requests: number;
  close(): Promise<void>;
}

/** Starts a witness that knows the keys of some logs. */
export async function startWitness(name: string, logs: readonly NoteVerifier[]): Promise<TestWitness> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const material = Buffer.concat([Buffer.of(4), publicKey.export({ format: 'der', type: 'spki' }).subarray(12)]);
  const keyHash = createHash('sha256').update(`${name}\n`).update(material).digest().subarray(0, 4);

  const answer = (body: string): { status: number; body: string } => {
    const end = body.indexOf('\n\n');
    const [first = '', ...proof] = body.slice(0, end).split('\n');
    const checkpoint = readCheckpoint(body.slice(end + 2));
    const old = Number(/^old (0|[1-9]\d*)$/.exec(first)?.[1] ?? Number.NaN);
    if (!checkpoint || Number.isNaN(old) || old > checkpoint.size) return { status: 400, body: 'malformed\n' };
    const key = logs.find((log) => log.name === checkpoint.origin);
    if (!key) return { status: 404, body: 'unknown origin\n' };
    if (isSignedBy(checkpoint.note, key) !== true) return { status: 403, body: 'no known signature\n' };
    const seen = witness.seen.get(checkpoint.origin) ?? { size: 0, root: Buffer.alloc(0) };
    if (old !== seen.size) return { status: 409, body: `${seen.size}\n` };
    const path = proof.map((line) => Buffer.from(line, 'base64'));
    const goesOn = old === 0 ? path.length === 0 : isConsistent(seen, checkpoint, path);
    if (!goesOn) return { status: 422, body: 'not consistent\n' };
    witness.seen.set(checkpoint.origin, { size: checkpoint.size, root: checkpoint.root });
    const seconds = BigInt(Math.floor(Date.now() / 1000));
    const signed = sign(null, Buffer.from(`cosignature/v1\ntime ${seconds}\n${checkpoint.note.text}`), privateKey);
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(seconds);
    return { status: 200, body: `\u2014 ${name} ${Buffer.concat([keyHash, time, signed]).toString('base64')}\n` };
  };

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      witness.requests += 1;
      const isRight = request.method === 'POST' && request.url === '/add-checkpoint';
      const { status, body } = isRight
        ? (witness.misbehave ?? answer(Buffer.concat(chunks).toString('utf8')))
        : { status: 404, body: 'no such path\n' };
      response.writeHead(status, { 'content-type': status === 409 ? 'text/x.tlog.size' : 'text/plain' }).end(body);
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));

  const witness: TestWitness = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    verifierKey: `${name}+${keyHash.toString('hex')}+${material.toString('base64')}`,
    seen: new Map(),
    misbehave: undefined,
    requests: 0,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return witness;
}
