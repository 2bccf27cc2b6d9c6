import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type TestApplication } from '../../testing/application.ts';
import { treeHash } from '../../testing/tree-hash.ts';
import { readCheckpoint } from './checkpoint.ts';
import { commitmentFrom, commitmentIn } from './entry-commitment.ts';
import type { ProofBundle } from './ledger.schema.ts';
import { isConsistent, leafHash, rootFromInclusion, rootOfPerfect } from './log-tree.ts';
import { mirrorLog } from './mirror-log.ts';
import { isSignedBy, makeSigningKey, readSigningKey, readVerifierKey } from './signed-note.ts';
import { tileNumberPath } from './tile-path.ts';

const signingKey = makeSigningKey('example.com/log');
let application: TestApplication;
let ownKey: string;
let strangersKey: string;

beforeAll(async () => {
  application = await startApplication({
    backend: 'postgres',
    environment: { LOG_SIGNING_KEY: signingKey, SWEEP_INTERVAL_MS: '100' },
  });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
  strangersKey = await application.createKey({ scope: 'write', workspace: 'Stranger' });
});
afterAll(() => application.close());

let nextNumber = 700_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });

async function ask<Body>(path: string, body?: object, key = ownKey): Promise<{ status: number; body: Body }> {
  const response = await application.fetch(path, {
    method: body ? 'POST' : 'GET',
    headers: { 'x-api-key': key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: response.status, body: await readJson<Body>(response) };
}

async function send(record: object, key = ownKey): Promise<string> {
  const { body } = await ask<{ item: { dfid: string } }>(
    '/api/items',
    { value_chain: 'BEEF', country: 'BR', year: 2025, ...record },
    key,
  );
  return body.item.dfid;
}

/** Waits until all that was told is in the signed log, and gives its checkpoint. */
async function whenSigned() {
  const isDone = async () => {
    const { rows } = await application.database.pool.query<{ is_done: boolean }>(
      `select not exists (select from event_feed) and exists (select from log_checkpoints join log_state using (size)) as is_done`,
    );
    return rows[0]!.is_done;
  };
  await expect.poll(isDone, { timeout: 20_000, interval: 20 }).toBe(true);
  return readCheckpoint(await (await application.fetch('/log/checkpoint')).text())!;
}

/** The log as a stranger mirrors it, by nothing but its public tiles. */
async function mirror(size: number): Promise<Buffer[]> {
  const entries: Buffer[] = [];
  while (entries.length < size) {
    const number = Math.floor(entries.length / 256);
    const width = Math.min(256, size - number * 256);
    const path = `${tileNumberPath(number)}${width < 256 ? `.p/${width}` : ''}`;
    const bundle = Buffer.from(await (await application.fetch(`/log/tile/entries/${path}`)).arrayBuffer());
    for (let at = 0; at < bundle.length; at += 2 + bundle.readUInt16BE(at))
      entries.push(bundle.subarray(at + 2, at + 2 + bundle.readUInt16BE(at)));
  }
  return entries;
}

/** Checks a proof with nothing but itself and the key of the log. */
async function expectProven(bundle: ProofBundle) {
  const key = readVerifierKey((await (await application.fetch('/log/key')).text()).trim())!;
  const checkpoint = readCheckpoint(bundle.checkpoint!)!;
  expect(isSignedBy(checkpoint.note, key)).toBe(true);
  const entry = Buffer.from(bundle.entry, 'base64');
  const path = bundle.inclusion.map((hash) => Buffer.from(hash, 'base64'));
  expect(rootFromInclusion(leafHash(entry), bundle.index, checkpoint.size, path)).toEqual(checkpoint.root);
  expect(commitmentFrom(bundle.fields!, Buffer.from(bundle.salt!, 'hex'))).toBe(commitmentIn(entry));
}

const valuesOf = ({ fields }: ProofBundle) =>
  Object.fromEntries(Object.entries(fields!).map(([name, field]) => [name, 'value' in field ? field.value : field]));

describe('the log', () => {
  test('holds each event and each version of an item once, is signed, and can be mirrored and checked by its public tiles alone', async () => {
    const records = Array.from({ length: 700 }, () => ({ value_chain: 'BEEF', identifiers: [newSisbov()] }));
    await application.fetch('/api/receipts', {
      method: 'POST',
      headers: { 'x-api-key': ownKey, 'content-type': 'application/json', prefer: 'wait=20' },
      body: JSON.stringify(records),
    });

    const checkpoint = await whenSigned();
    const entries = await mirror(checkpoint.size);

    const { rows } = await application.database.pool.query<Record<string, number>>(
      `select (select count(*) from events where item_number is not null) as events, count(distinct event_id) as logged_events,
              (select count(*) from contributions) as versions, (select count(*) from item_versions) as logged_versions
       from log_entries`,
    );
    const told = checkpoint.size / 2;
    expect(rows[0]).toEqual({ events: told, logged_events: told, versions: told, logged_versions: told });
    expect(told).toBeGreaterThanOrEqual(700);
    expect(treeHash(entries.map((entry) => leafHash(entry)))).toEqual(checkpoint.root);
    const tile = Buffer.from(await (await application.fetch('/log/tile/0/001')).arrayBuffer());
    expect(tile).toEqual(Buffer.concat(entries.slice(256, 512).map((entry) => leafHash(entry))));
    const above = Buffer.from(await (await application.fetch('/log/tile/1/000.p/2')).arrayBuffer());
    expect(above.subarray(32)).toEqual(rootOfPerfect(tile));
  });

  test('is found right by who mirrors it from outside', async () => {
    const { size } = await whenSigned();
    const read = async (path: string) => Buffer.from(await (await fetch(`${application.url}${path}`)).arrayBuffer());

    const report = await mirrorLog({ read, keys: [readSigningKey(signingKey)!.verifier], accounts: [] });

    expect(report).toMatchObject({ isSigned: true, origin: 'example.com/log' });
    expect(report.size).toBeGreaterThanOrEqual(size);
  });

  test('proves that it only grows', async () => {
    const before = await whenSigned();
    await send({ identifiers: [newSisbov()] });
    const after = await whenSigned();

    const { body } = await ask<{ proof: string[] }>(`/api/log/consistency?from=${before.size}&to=${after.size}`);

    expect(after.size).toBeGreaterThan(before.size);
    expect(
      isConsistent(
        before,
        after,
        body.proof.map((hash) => Buffer.from(hash, 'base64')),
      ),
    ).toBe(true);
  });

  test.each(['0/999', '0/000.p/0', '0/000.p/256', '0/0', '0/x000/000', '64/000', 'entries/x999/999/999', '0/000/000'])(
    'has no tile %s',
    async (path) => {
      await whenSigned();
      expect((await application.fetch(`/log/tile/${path}`)).status).toBe(404);
    },
  );

  test('tells nothing about what it holds', async () => {
    await send({ identifiers: [newSisbov()], metadata: { fazenda: 'Fazenda Segredo' } });
    const { size } = await whenSigned();

    for (const entry of await mirror(size)) expect(entry.toString()).toMatch(/^\{"c":"[0-9a-f]{64}","v":1\}$/);
  });
});

describe('a proof', () => {
  test('of an item shows what it is, or was in an earlier version, and holds by the key of the log alone', async () => {
    const sisbov = newSisbov();
    const dfid = await send({ identifiers: [sisbov], metadata: { weight: 1, fazenda: 'São João' } });
    await whenSigned();
    await send({ identifiers: [sisbov], metadata: { weight: 2 } });
    await whenSigned();

    const { body: newest } = await ask<ProofBundle>(`/api/items/${dfid}/proof`);
    const { body: first } = await ask<ProofBundle>(`/api/items/${dfid}/proof?version=1`);

    await expectProven(newest);
    await expectProven(first);
    expect(valuesOf(newest)).toMatchObject({
      kind: 'version',
      dfid,
      version: 2,
      status: 'active',
      'identifiers.0': { ...sisbov, is_canonical: true },
      'metadata.0': { name: 'fazenda', value: 'São João' },
      'metadata.1': { name: 'weight', value: 2 },
    });
    expect(valuesOf(first)).toMatchObject({ version: 1, 'metadata.1': { name: 'weight', value: 1 } });
    expect(newest.anchor).toBeNull();
    expect((await ask(`/api/items/${dfid}/proof?version=3`)).status).toBe(404);
  });

  test('is there for each event of an item, page by page, and for one by its id', async () => {
    const sisbov = newSisbov();
    const dfid = await send({ identifiers: [sisbov], events: [{ event_type: 'weighed', payload: { kg: 450.5 } }] });
    await send({ identifiers: [sisbov], metadata: { weight: 2 } });
    await whenSigned();

    type Page = { version: ProofBundle; proofs: ProofBundle[]; next_cursor: string | null; state: string };
    const { body: first } = await ask<Page>(`/api/proofs/${dfid}?limit=2`);
    const { body: rest } = await ask<Page>(`/api/proofs/${dfid}?limit=2&cursor=${first.next_cursor}`);

    const proofs = [...first.proofs, ...rest.proofs];
    for (const bundle of proofs) await expectProven(bundle);
    expect(proofs.map((bundle) => String(valuesOf(bundle)['event_type'])).toSorted()).toEqual([
      'item_created',
      'item_enriched',
      'weighed',
    ]);
    const weighed = proofs.find((bundle) => valuesOf(bundle)['event_type'] === 'weighed')!;
    expect(valuesOf(weighed)['payload']).toEqual({ kg: 450.5 });
    const { body: one } = await ask<ProofBundle>(`/api/proofs/events/${String(valuesOf(weighed)['event_id'])}`);
    expect(one.entry).toBe(weighed.entry);
    expect(valuesOf(first.version)).toMatchObject({ kind: 'version', version: 2 });
    expect(first.state).toContain('not anchored');
  });

  test('of a merged item is that of the one that it is now', async () => {
    const [one, other] = [await send({ identifiers: [newSisbov()] }), await send({ identifiers: [newSisbov()] })];
    await ask(`/api/items/${one}/merge`, { secondary_dfid: other, strategy: 'append' });
    await whenSigned();

    const { body } = await ask<ProofBundle>(`/api/items/${other}/proof`);

    expect(valuesOf(body)).toMatchObject({ kind: 'version', dfid: one, version: 2 });
    const { body: before } = await ask<ProofBundle>(`/api/items/${other}/proof?version=1`);
    expect(valuesOf(before)).toMatchObject({ kind: 'version', dfid: other, version: 1 });
  });

  test('is shown to nobody else: who has no part in the item finds none', async () => {
    const sisbov = newSisbov();
    const dfid = await send({ identifiers: [sisbov], metadata: { secret: 1 } });
    await whenSigned();
    const { body: own } = await ask<ProofBundle>(`/api/items/${dfid}/proof`);

    expect((await ask(`/api/items/${dfid}/proof`, undefined, strangersKey)).status).toBe(404);
    expect((await ask(`/api/proofs/${dfid}`, undefined, strangersKey)).status).toBe(404);
    const { rows } = await application.database.pool.query<{ event_id: string }>(
      'select event_id from events order by event_id desc limit 1',
    );
    const eventId = rows[0]!.event_id;
    expect((await ask(`/api/proofs/events/${eventId}`)).status).toBe(200);
    expect((await ask(`/api/proofs/events/${eventId}`, undefined, strangersKey)).status).toBe(404);
    await send({ identifiers: [sisbov] }, strangersKey);
    await whenSigned();
    type Page = { version: ProofBundle; proofs: ProofBundle[] };
    const { body: theirs } = await ask<Page>(`/api/proofs/${dfid}`, undefined, strangersKey);
    expect([theirs.version, ...theirs.proofs].map((bundle) => bundle.entry)).not.toContain(own.entry);
    expect(JSON.stringify(theirs.version)).not.toContain('secret');
  });

  test('is of a key of the log and of no other', async () => {
    const { note } = await whenSigned();
    expect(isSignedBy(note, readSigningKey(makeSigningKey('example.com/log'))!.verifier)).toBeUndefined();
  });
});
