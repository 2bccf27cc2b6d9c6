import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type ProblemDocument,
  type TestApplication,
} from '../../../testing/application.ts';
import { findBrokenRules } from '../../../testing/deduplication.ts';

interface Item {
  id: string;
  dfid: string;
  status: string;
  value_chain: string;
  year: number;
  metadata: Record<string, unknown>;
  merged_into_dfid: string | null;
  version: number;
}

interface Details {
  item: Item;
  identifiers: { identifier_type: string; value: string }[];
  events: { event_type: string; dfid: string; payload: Record<string, unknown> }[];
}

let application: TestApplication;
let strangersKey: string;
let ownKey: string;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
  strangersKey = await application.createKey({ scope: 'write', workspace: 'Stranger' });
});
afterAll(() => application.close());

let nextNumber = 400_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });
const newSerial = () => ({ identifier_type: 'sgtin', value: `urn:epc:id:sgtin:7891234.056789.${nextNumber++}` });

function ask(method: string, path: string, body?: object, key = ownKey, headers: Record<string, string> = {}) {
  return application.fetch(path, {
    method,
    headers: {
      'x-api-key': key,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function done<Body>(response: Response, status: number): Promise<Body> {
  const body = await readJson<Body>(response);
  expect({ status: response.status, body }).toEqual({ status, body });
  return body;
}

/** Sends one record and gives the item that it is part of. */
async function send(record: object, key = ownKey): Promise<Item> {
  const response = await ask('POST', '/api/items', { value_chain: 'BEEF', country: 'BR', year: 2025, ...record }, key);
  const { item } = await readJson<Details>(response);
  expect([200, 201]).toContain(response.status);
  return item;
}

const read = async (dfid: string, key = ownKey) =>
  done<Details>(await ask('GET', `/api/items/${dfid}`, undefined, key), 200);
const refusal = async (response: Response) => {
  const problem = await readJson<ProblemDocument>(response);
  return [response.status, problem.error];
};
const provenanceOf = async (dfid: string) =>
  readJson<{ identifiers: object[]; fields: { field: string; value: unknown; source: { entry_id: string } }[] }>(
    await ask('GET', `/api/items/${dfid}/provenance`),
  );
const entryOf = async (dfid: string, field: string) => {
  const provenance = await provenanceOf(dfid);
  return provenance.fields.find((each) => each.field === field)!.source.entry_id;
};

describe('POST /api/items/{dfid}/merge', () => {
  test.each([
    ['append', { only: 1, both: 'new', list: ['a', 'b'], object: { x: 1, y: 2 }, other: 2 }],
    ['keep_first', { only: 1, both: 'old', list: ['a'], object: { x: 1 }, other: 2 }],
    ['OVERWRITE', { only: 1, both: 'new', list: ['a', 'b'], object: { y: 2 }, other: 2 }],
  ])('joins the values by the strategy %s, and the item of the path stays', async (strategy, metadata) => {
    const primary = await send({
      identifiers: [newSisbov()],
      metadata: { only: 1, both: 'old', list: ['a'], object: { x: 1 } },
    });
    const secondary = await send({
      identifiers: [newChip()],
      metadata: { both: 'new', list: ['a', 'b'], object: { y: 2 }, other: 2 },
    });

    const answer = await done<{ merged_item: Item }>(
      await ask('POST', `/api/items/${primary.dfid}/merge`, { secondary_dfid: secondary.dfid, strategy }),
      200,
    );

    expect(answer.merged_item).toMatchObject({ dfid: primary.dfid, metadata });
    const { fields } = await provenanceOf(primary.dfid);
    expect(Object.fromEntries(fields.map(({ field, value }) => [field, value]))).toEqual(metadata);
    expect((await read(secondary.dfid)).item).toMatchObject({ status: 'merged', merged_into_dfid: primary.dfid });
    expect((await read(primary.dfid)).identifiers).toHaveLength(2);
  });

  test.each(['a record', 'a person', 'a decided conflict'])(
    'by %s is told in an event that names both',
    async (how) => {
      const [sisbov, chip] = [newSisbov(), newChip()];
      const [own, other] = how === 'a decided conflict' ? [newSerial(), newSerial()] : [undefined, undefined];
      const survivor = await send({ identifiers: [sisbov, ...(own ? [own] : [])] });
      const loser = await send({ identifiers: [chip, ...(other ? [other] : [])] });

      if (how === 'a person')
        await ask('POST', `/api/items/${survivor.dfid}/merge`, { secondary_dfid: loser.dfid, strategy: 'append' });
      else
        await ask('POST', '/api/items', {
          value_chain: 'BEEF',
          country: 'BR',
          year: 2025,
          identifiers: [sisbov, chip],
        });
      if (how === 'a decided conflict') {
        const query = new URLSearchParams({ ...sisbov, status: 'open' }).toString();
        const { conflicts } = await readJson<{ conflicts: { conflict_id: string }[] }>(
          await ask('GET', `/api/conflicts?${query}`),
        );
        const resolution = { action: 'merge', reason: 'one animal' };
        await done(await ask('POST', `/api/conflicts/${conflicts[0]!.conflict_id}/resolve`, resolution), 200);
      }

      const told = (await read(survivor.dfid)).events.filter(({ event_type: type }) => type === 'item_merged');
      expect(told).toMatchObject([{ dfid: survivor.dfid, payload: { merged_items: 1, merged_dfids: [loser.dfid] } }]);
    },
  );

  test('keeps the item of the path although the other one is older', async () => {
    const older = await send({ identifiers: [newSisbov()] });
    const younger = await send({ identifiers: [newChip()] });

    await done(
      await ask('POST', `/api/items/${younger.dfid}/merge`, { secondary_dfid: older.dfid, strategy: 'append' }),
      200,
    );

    expect((await read(older.dfid)).item.merged_into_dfid).toBe(younger.dfid);
  });

  test('lets later values win over those that the merge chose', async () => {
    const sisbov = newSisbov();
    const primary = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    const secondary = await send({ identifiers: [newChip()], metadata: { weight: 2 } });
    const body = { secondary_dfid: secondary.dfid, strategy: 'keep_first' };
    await done(await ask('POST', `/api/items/${primary.dfid}/merge`, body), 200);

    const item = await send({ identifiers: [sisbov], metadata: { weight: 3 } });

    expect(item.metadata).toEqual({ weight: 3 });
  });

  test('refuses an unknown strategy with 400, itself and what is merged already with 4xx', async () => {
    const primary = await send({ identifiers: [newSisbov()] });
    const secondary = await send({ identifiers: [newChip()] });
    const merge = (dfid: string, other: string, strategy = 'append') =>
      ask('POST', `/api/items/${dfid}/merge`, { secondary_dfid: other, strategy });

    expect(await refusal(await merge(primary.dfid, secondary.dfid, 'custom'))).toEqual([400, 'unknown_strategy']);
    expect(await refusal(await merge(primary.dfid, primary.dfid))).toEqual([422, 'invalid_request']);
    await done(await merge(primary.dfid, secondary.dfid), 200);
    expect(await refusal(await merge(primary.dfid, secondary.dfid))).toEqual([409, 'item_merged']);
    expect(await refusal(await merge(secondary.dfid, primary.dfid))).toEqual([409, 'item_merged']);
  });

  test('is for an administrator when others contributed, and unknown items are not found', async () => {
    const shared = newSisbov();
    const primary = await send({ identifiers: [shared], metadata: { farm: 'ours' } });
    await send({ identifiers: [shared], metadata: { farm: 'theirs' } }, strangersKey);
    const secondary = await send({ identifiers: [newChip()] });
    const body = { secondary_dfid: secondary.dfid, strategy: 'append' };

    expect(await refusal(await ask('POST', `/api/items/${primary.dfid}/merge`, body))).toEqual([
      403,
      'administrator_required',
    ]);
    expect(await refusal(await ask('POST', `/api/items/${primary.dfid}/merge`, body, strangersKey))).toEqual([
      404,
      'not_found',
    ]);
    await done(await ask('POST', `/api/items/${primary.dfid}/merge`, body, application.apiKey), 200);

    expect((await read(primary.dfid)).item.metadata).toEqual({ farm: 'ours' });
    const theirs = await read(primary.dfid, strangersKey);
    expect(theirs.item.metadata).toEqual({ farm: 'theirs' });
    expect(theirs.identifiers).toHaveLength(1);
    expect(JSON.stringify(theirs)).not.toContain(secondary.dfid);
  });

  test('lets the workspaces of what an administrator merged go on as before', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const ours = await send({ identifiers: [sisbov] });
    const theirs = await send({ identifiers: [chip] }, strangersKey);
    const body = { secondary_dfid: theirs.dfid, strategy: 'append' };
    await done(await ask('POST', `/api/items/${ours.dfid}/merge`, body, application.apiKey), 200);

    expect((await send({ identifiers: [sisbov], metadata: { weight: 1 } })).dfid).toBe(ours.dfid);
    expect((await send({ identifiers: [chip], metadata: { weight: 2 } }, strangersKey)).dfid).toBe(ours.dfid);
  });
});

describe('a strategy that an administrator chooses', () => {
  test('holds for what each workspace knows of both items', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const [primary, secondary] = [
      await send({ identifiers: [sisbov], metadata: { weight: 1 } }),
      await send({ identifiers: [chip], metadata: { weight: 2 } }),
    ];
    await send({ identifiers: [sisbov], metadata: { weight: 10 } }, strangersKey);
    await send({ identifiers: [chip], metadata: { weight: 20 } }, strangersKey);

    const body = { secondary_dfid: secondary.dfid, strategy: 'keep_first' };
    await done(await ask('POST', `/api/items/${primary.dfid}/merge`, body, application.apiKey), 200);

    expect((await read(primary.dfid)).item.metadata).toEqual({ weight: 1 });
    expect((await read(primary.dfid, strangersKey)).item.metadata).toEqual({ weight: 10 });
  });
});

describe('POST /api/items/{dfid}/unmerge', () => {
  test('gives both sides what they would have without the link, and keeps them apart for good', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const one = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    const other = await send({ identifiers: [chip], metadata: { weight: 2, breed: 'Nelore' } });
    await send({ identifiers: [sisbov, chip], metadata: { weight: 3 } });
    await send({ identifiers: [chip], metadata: { farm: 'after' } });

    const answer = await done<{ restored_item: Item; primary_dfid: string }>(
      await ask('POST', `/api/items/${other.dfid}/unmerge`),
      200,
    );

    expect(answer.restored_item).toMatchObject({
      dfid: other.dfid,
      status: 'active',
      metadata: { weight: 2, breed: 'Nelore', farm: 'after' },
    });
    expect((await read(one.dfid)).item.metadata).toEqual({ weight: 1 });
    const again = await ask('POST', '/api/items', {
      value_chain: 'BEEF',
      country: 'BR',
      year: 2025,
      identifiers: [sisbov, chip],
    });
    expect(await refusal(again)).toEqual([409, 'record_conflicted']);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('keeps what clients told in words of the system, and never takes it for the word of the system', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const one = await send({ identifiers: [sisbov] });
    const other = await send({ identifiers: [chip] });
    const events = [{ event_type: 'item_updated', payload: { by: 'somebody else' } }, { event_type: 'weighing' }];
    await send({ identifiers: [sisbov, chip], metadata: { link: 1 }, events });
    await done(await ask('POST', `/api/items/${other.dfid}/unmerge`, {}), 200);
    const query = new URLSearchParams({ ...sisbov, status: 'open' }).toString();
    const { conflicts } = await readJson<{ conflicts: { conflict_id: string }[] }>(
      await ask('GET', `/api/conflicts?${query}`),
    );
    const resolution = { action: 'attach', dfid: one.dfid, reason: 'the same animal' };
    await done(await ask('POST', `/api/conflicts/${conflicts[0]!.conflict_id}/resolve`, resolution), 200);

    const told = (await read(one.dfid)).events.filter(({ event_type: type, payload }) =>
      type === 'item_updated' ? payload['by'] === 'somebody else' : type === 'weighing',
    );
    const versions = await readJson<object>(await ask('GET', `/api/items/${one.dfid}/versions`));

    expect(told).toHaveLength(2);
    expect(JSON.stringify(versions)).not.toContain('somebody else');
  });

  test('takes the values back that the merge by hand chose, and leaves edits with the survivor', async () => {
    const primary = await send({ identifiers: [newSisbov()], metadata: { weight: 1 } });
    const secondary = await send({ identifiers: [newChip()], metadata: { weight: 2 } });
    const body = { secondary_dfid: secondary.dfid, strategy: 'keep_first', reason: 'seen twice' };
    await done(await ask('POST', `/api/items/${primary.dfid}/merge`, body), 200);
    await done(await ask('PUT', `/api/items/${primary.dfid}`, { metadata: { note: 'by hand' } }), 200);

    await done(await ask('POST', `/api/items/${secondary.dfid}/unmerge`, { reason: 'they are two' }), 200);

    expect((await read(primary.dfid)).item.metadata).toEqual({ weight: 1, note: 'by hand' });
    expect((await read(secondary.dfid)).item.metadata).toEqual({ weight: 2 });
    const { events } = await read(secondary.dfid);
    expect(events.find((event) => event.event_type === 'item_unmerged')?.payload).toMatchObject({
      reason: 'they are two',
      restored_dfid: secondary.dfid,
      survivor_dfid: primary.dfid,
    });
  });

  test('changes the counts of the receipt of the record that had linked the two', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    await send({ identifiers: [sisbov] });
    const other = await send({ identifiers: [chip] });
    const linked = await send({ identifiers: [sisbov, chip], metadata: { linked: true } });
    const entryId = await entryOf(linked.dfid, 'linked');
    const receiptId = `${entryId.slice(0, -6)}000000`;
    const before = await readJson<{ finished_at: string }>(await ask('GET', `/api/receipts/${receiptId}`));

    await done(await ask('POST', `/api/items/${other.dfid}/unmerge`), 200);

    expect(await readJson(await ask('GET', `/api/receipts/${receiptId}`))).toMatchObject({
      status: 'completed_with_errors',
      entries: { total: 1, completed: 0, conflicted: 1 },
      finished_at: before.finished_at,
    });
  });

  test('leaves with the item what became one with it only because of it', async () => {
    const [one, two, three] = [newSisbov(), newChip(), { identifier_type: 'rfid', value: `076${nextNumber++}` }];
    const [first, second, third] = [
      await send({ identifiers: [one] }),
      await send({ identifiers: [two] }),
      await send({ identifiers: [three] }),
    ];
    await send({ identifiers: [one, two] });
    await send({ identifiers: [two, three] });

    await done(await ask('POST', `/api/items/${second.dfid}/unmerge`), 200);

    expect((await read(first.dfid)).identifiers).toHaveLength(1);
    expect((await read(third.dfid)).item.merged_into_dfid).toBe(second.dfid);
    expect((await read(second.dfid)).identifiers).toHaveLength(2);
  });

  test('keeps all that was one with either side apart', async () => {
    const [one, other, third] = [newSisbov(), newChip(), { identifier_type: 'rfid', value: `076${nextNumber++}` }];
    const [first, second, inner] = [
      await send({ identifiers: [one] }),
      await send({ identifiers: [other] }),
      await send({ identifiers: [third] }),
    ];
    const merge = (dfid: string, secondary: string) =>
      ask('POST', `/api/items/${dfid}/merge`, { secondary_dfid: secondary, strategy: 'append' });
    await done(await merge(second.dfid, inner.dfid), 200);
    await done(await merge(first.dfid, second.dfid), 200);
    await done(await ask('POST', `/api/items/${second.dfid}/unmerge`), 200);
    await done(await ask('POST', `/api/items/${inner.dfid}/unmerge`), 200);

    const link = { value_chain: 'BEEF', country: 'BR', year: 2025, identifiers: [one, third] };

    expect(await refusal(await ask('POST', '/api/items', link))).toEqual([409, 'record_conflicted']);
  });

  test('is done once, also by several at the same time', async () => {
    const [first, second] = [await send({ identifiers: [newSisbov()] }), await send({ identifiers: [newChip()] })];
    const body = { secondary_dfid: second.dfid, strategy: 'append' };
    await done(await ask('POST', `/api/items/${first.dfid}/merge`, body), 200);

    const answers = await Promise.all(
      Array.from({ length: 4 }, () => ask('POST', `/api/items/${second.dfid}/unmerge`)),
    );

    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 400, 400, 400]);
    const { events } = await read(first.dfid);
    expect(events.filter((event) => event.event_type === 'item_unmerged')).toHaveLength(1);
  });

  test('is refused for what is not merged, and while the survivor is merged itself', async () => {
    const [first, second, third] = [
      await send({ identifiers: [newSisbov()] }),
      await send({ identifiers: [newSisbov()] }),
      await send({ identifiers: [newSisbov()] }),
    ];
    expect(await refusal(await ask('POST', `/api/items/${first.dfid}/unmerge`))).toEqual([400, 'item_not_merged']);
    const merge = (dfid: string, other: string) =>
      ask('POST', `/api/items/${dfid}/merge`, { secondary_dfid: other, strategy: 'append' });
    await done(await merge(second.dfid, third.dfid), 200);
    await done(await merge(first.dfid, second.dfid), 200);

    expect(await refusal(await ask('POST', `/api/items/${third.dfid}/unmerge`))).toEqual([409, 'primary_merged']);
    await done(await ask('POST', `/api/items/${second.dfid}/unmerge`), 200);

    expect((await read(third.dfid)).item.merged_into_dfid).toBe(second.dfid);
    expect((await read(first.dfid)).identifiers).toHaveLength(1);
    expect((await read(second.dfid)).identifiers).toHaveLength(2);
  });
});

describe('POST /api/items/{dfid}/split', () => {
  const nature = { value_chain: 'BEEF', country: 'BR', year: 2024 };

  test('divides an item: a new one derived from it, with its values and those of the part', async () => {
    const source = await send({ identifiers: [newSisbov()], metadata: { breed: 'Nelore', weight: 450 } });

    const answer = await done<{ source_item: Item; new_item: Item }>(
      await ask('POST', `/api/items/${source.dfid}/split`, {
        ...nature,
        metadata: { weight: 225 },
        quantity: '225',
        unit: 'kg',
      }),
      201,
    );

    expect(answer.source_item).toMatchObject({ dfid: source.dfid, status: 'active', metadata: { weight: 450 } });
    expect(answer.new_item).toMatchObject({ year: 2024, metadata: { breed: 'Nelore', weight: 225 } });
    const relationships = await readJson<object[]>(await ask('GET', `/api/items/${source.dfid}/relationships`));
    expect(relationships).toMatchObject([
      {
        primary_dfid: source.dfid,
        related_dfid: answer.new_item.dfid,
        relationship_type: 'derived',
        quantity: '225',
        unit: 'kg',
      },
    ]);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('divides once for one idempotency key', async () => {
    const source = await send({ identifiers: [newSisbov()] });
    const split = () =>
      ask('POST', `/api/items/${source.dfid}/split`, { ...nature, metadata: {} }, ownKey, {
        'idempotency-key': 'once',
      });

    const [first, second] = [await done<{ new_item: Item }>(await split(), 201), await done(await split(), 201)];

    expect(second).toEqual(first);
    expect(await readJson<object[]>(await ask('GET', `/api/items/${source.dfid}/relationships`))).toHaveLength(1);
  });

  test('gives identifiers, with what came with them, to a new item', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const source = await send({ identifiers: [sisbov], metadata: { name: 'Estrela' } });
    await send({ identifiers: [sisbov, chip], metadata: { weight: 5 } });
    await send({ identifiers: [chip], metadata: { farm: 'Boa Vista' } });

    const answer = await done<{ source_item: Item; new_item: Item }>(
      await ask('POST', `/api/items/${source.dfid}/split`, { ...nature, identifiers: [chip] }),
      201,
    );

    expect((await provenanceOf(source.dfid)).identifiers).toMatchObject([sisbov]);
    expect((await provenanceOf(answer.new_item.dfid)).identifiers).toMatchObject([chip]);
    expect(answer.new_item).toMatchObject({ year: 2024, metadata: { weight: 5, farm: 'Boa Vista' } });
    expect(answer.source_item).toMatchObject({ status: 'active', metadata: { name: 'Estrela' } });
    expect((await read(answer.new_item.dfid)).identifiers).toMatchObject([chip]);
    expect((await read(source.dfid)).identifiers).toMatchObject([sisbov]);
    expect((await send({ identifiers: [chip] })).dfid).toBe(answer.new_item.dfid);
    expect((await send({ identifiers: [sisbov] })).dfid).toBe(source.dfid);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('leaves an item with its identifier when the rest of its only record leaves', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const source = await send({ identifiers: [sisbov, chip], metadata: { weight: 5 } });

    const answer = await done<{ new_item: Item }>(
      await ask('POST', `/api/items/${source.dfid}/split`, { ...nature, identifiers: [chip] }),
      201,
    );

    expect((await read(answer.new_item.dfid)).item.metadata).toEqual({ weight: 5 });
    expect((await read(source.dfid)).identifiers).toMatchObject([sisbov]);
    expect((await send({ identifiers: [sisbov] })).dfid).toBe(source.dfid);
  });

  test('leaves identifiers of a record where they stayed when these are split again, merged and unmerged', async () => {
    const [sisbov, chip, serial] = [newSisbov(), newChip(), newSerial()];
    const source = await send({ identifiers: [sisbov, chip, serial], metadata: { weight: 5 } });
    const split = async (identifier: object) =>
      (
        await done<{ new_item: Item }>(
          await ask('POST', `/api/items/${source.dfid}/split`, { ...nature, identifiers: [identifier] }),
          201,
        )
      ).new_item.dfid;

    const dfids = [await split(chip), await split(serial), source.dfid];
    await done(
      await ask('POST', `/api/items/${source.dfid}/merge`, { secondary_dfid: dfids[0], strategy: 'append' }),
      200,
    );
    await done(await ask('POST', `/api/items/${dfids[0]}/unmerge`, {}), 200);

    const known = await Promise.all(dfids.map(async (dfid) => (await read(dfid)).identifiers));
    expect(known).toMatchObject([[chip], [serial], [sisbov]]);
    expect(
      await Promise.all([chip, serial, sisbov].map(async (each) => (await send({ identifiers: [each] })).dfid)),
    ).toEqual(dfids);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('tells an event once where records that told it come together', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const events = [{ event_type: 'weighed', event_key: 'first weighing' }];
    const one = await send({ identifiers: [sisbov], events });
    const other = await send({ identifiers: [chip], events });
    const merge = { secondary_dfid: other.dfid, strategy: 'append' };
    await done(await ask('POST', `/api/items/${one.dfid}/merge`, merge), 200);
    await send({ identifiers: [sisbov, newSerial()] });

    const { new_item: part } = await done<{ new_item: Item }>(
      await ask('POST', `/api/items/${one.dfid}/split`, { ...nature, identifiers: [sisbov, chip] }),
      201,
    );

    const weighings = async (dfid: string) =>
      (await read(dfid)).events.filter(({ event_type: type }) => type === 'weighed');
    expect(await weighings(part.dfid)).toHaveLength(1);
    expect(await weighings(one.dfid)).toEqual([]);
    const back = { ...nature, identifiers: [chip] };
    const { new_item: again } = await done<{ new_item: Item }>(
      await ask('POST', `/api/items/${part.dfid}/split`, back),
      201,
    );
    expect(await weighings(part.dfid)).toHaveLength(1);
    expect(await weighings(again.dfid)).toHaveLength(1);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test.each(['a record', 'a person'])(
    'tells an event once that two items had before %s joined them',
    async (joinedBy) => {
      const [sisbov, chip] = [newSisbov(), newChip()];
      const events = [{ event_type: 'weighed', event_key: 'first weighing' }];
      const one = await send({ identifiers: [sisbov], events });
      const other = await send({ identifiers: [chip], events });
      const weighings = async (dfid: string) =>
        (await read(dfid)).events.filter(({ event_type: type }) => type === 'weighed');

      if (joinedBy === 'a record') await send({ identifiers: [sisbov, chip], events });
      else await ask('POST', `/api/items/${one.dfid}/merge`, { secondary_dfid: other.dfid, strategy: 'append' });

      expect(await weighings(one.dfid)).toHaveLength(1);
      await done(await ask('POST', `/api/items/${other.dfid}/unmerge`, {}), 200);
      expect(await weighings(one.dfid)).toHaveLength(1);
      expect(await weighings(other.dfid)).toHaveLength(1);
      expect(await findBrokenRules(application.database)).toEqual([]);
    },
  );

  test('refuses to take every identifier, or one that the item does not have', async () => {
    const sisbov = newSisbov();
    const source = await send({ identifiers: [sisbov] });
    const split = (identifier: object) =>
      ask('POST', `/api/items/${source.dfid}/split`, { ...nature, identifiers: [identifier] });

    expect(await refusal(await split(sisbov))).toEqual([422, 'invalid_request']);
    expect(await refusal(await split(newChip()))).toEqual([422, 'invalid_request']);
    expect(await refusal(await ask('POST', `/api/items/${source.dfid}/split`, { ...nature, country: 'XX' }))).toEqual([
      422,
      'invalid_country',
    ]);
  });
});

describe('POST /api/items/{dfid}/corrections', () => {
  test('lets values fall back to what other entries say, and keeps the entry in history', async () => {
    const sisbov = newSisbov();
    const item = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    await send({ identifiers: [sisbov, newChip()], metadata: { weight: 9, typo: true } });
    const body = { entry_id: await entryOf(item.dfid, 'typo'), reason: 'a typing mistake' };

    const answer = await done<{ item: Item }>(await ask('POST', `/api/items/${item.dfid}/corrections`, body), 200);

    expect(answer.item.metadata).toEqual({ weight: 1 });
    expect((await read(item.dfid)).identifiers).toMatchObject([sisbov]);
    expect(await refusal(await ask('POST', `/api/items/${item.dfid}/corrections`, body))).toEqual([
      409,
      'entry_withdrawn',
    ]);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('takes items apart that only the withdrawn entry had linked', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const one = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    const other = await send({ identifiers: [chip], metadata: { weight: 2 } });
    await send({ identifiers: [sisbov, chip], metadata: { link: true } });
    const body = { entry_id: await entryOf(one.dfid, 'link'), reason: 'two animals' };

    await done(await ask('POST', `/api/items/${one.dfid}/corrections`, body), 200);

    expect((await read(one.dfid)).item).toMatchObject({ status: 'active', metadata: { weight: 1 } });
    expect((await read(other.dfid)).item).toMatchObject({ status: 'active', metadata: { weight: 2 } });
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('leaves no entry behind when the item is merged by hand afterwards', async () => {
    const [chip, wrong] = [newChip(), newSisbov()];
    const item = await send({ identifiers: [chip, wrong], metadata: { wrong: 1 } });
    await send({ identifiers: [chip], metadata: { good: 1 } });
    const body = { entry_id: await entryOf(item.dfid, 'wrong'), reason: 'a typing mistake' };
    await done(await ask('POST', `/api/items/${item.dfid}/corrections`, body), 200);
    const primary = await send({ identifiers: [newSisbov()], metadata: { first: 1 } });

    const merge = { secondary_dfid: item.dfid, strategy: 'append' };
    const answer = await done<{ merged_item: Item }>(await ask('POST', `/api/items/${primary.dfid}/merge`, merge), 200);

    expect(answer.merged_item.metadata).toEqual({ first: 1, good: 1 });
  });

  test('leaves the item to who withdrew all that was known of it', async () => {
    const item = await send({ identifiers: [newSisbov()], metadata: { only: 1 } });
    const body = { entry_id: await entryOf(item.dfid, 'only'), reason: 'never seen' };

    await done(await ask('POST', `/api/items/${item.dfid}/corrections`, body), 200);

    expect((await read(item.dfid)).item).toMatchObject({ status: 'active', metadata: {} });
  });

  test('leaves the item to who withdrew all, also when it becomes part of another', async () => {
    const item = await send({ identifiers: [newSisbov()], metadata: { only: 1 } });
    const survivor = await send({ identifiers: [newSisbov()] }, strangersKey);
    const body = { entry_id: await entryOf(item.dfid, 'only'), reason: 'never seen' };
    await done(await ask('POST', `/api/items/${item.dfid}/corrections`, body), 200);

    const merge = { secondary_dfid: item.dfid, strategy: 'append' };
    await done(await ask('POST', `/api/items/${survivor.dfid}/merge`, merge, application.apiKey), 200);

    expect((await read(item.dfid)).item.merged_into_dfid).toBe(survivor.dfid);
    expect((await read(survivor.dfid)).item).toMatchObject({ status: 'active', metadata: {} });
  });

  test('takes an entry back from every item that has a part of it', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const source = await send({ identifiers: [sisbov, chip], metadata: { weight: 5 } });
    const split = { value_chain: 'BEEF', country: 'BR', year: 2024, identifiers: [chip] };
    const { new_item: part } = await done<{ new_item: Item }>(
      await ask('POST', `/api/items/${source.dfid}/split`, split),
      201,
    );
    const body = { entry_id: await entryOf(part.dfid, 'weight'), reason: 'never seen' };

    await done(await ask('POST', `/api/items/${source.dfid}/corrections`, body), 200);

    expect((await read(source.dfid)).identifiers).toEqual([]);
    expect((await read(part.dfid)).item.metadata).toEqual({});
    expect([source.dfid, part.dfid]).not.toContain((await send({ identifiers: [sisbov] })).dfid);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('of a new tag lets those wait again that came in with it', async () => {
    const [sisbov, old, next] = [newSisbov(), newChip(), newChip()];
    const item = await send({ identifiers: [sisbov, old], metadata: { weight: 1 } });
    const retagging = { event_type: 'identifier_replaced', payload: { old, new: next } };
    await send({ identifiers: [sisbov], metadata: { retagged: true }, events: [retagging] });
    await send({ identifiers: [sisbov, next], metadata: { weight: 2 } });
    const body = { entry_id: await entryOf(item.dfid, 'retagged'), reason: 'another animal' };

    await done(await ask('POST', `/api/items/${item.dfid}/corrections`, body), 200);

    expect((await read(item.dfid)).item.metadata).toEqual({ weight: 1 });
    expect((await read(item.dfid)).identifiers).toMatchObject([sisbov, old]);
    const query = new URLSearchParams({ ...sisbov, status: 'open' }).toString();
    const { conflicts } = await readJson<{ conflicts: { conflict_id: string }[] }>(
      await ask('GET', `/api/conflicts?${query}`),
    );
    const [conflict] = await Promise.all(
      conflicts.map(async ({ conflict_id: id }) => readJson<object>(await ask('GET', `/api/conflicts/${id}`))),
    );
    expect(conflict).toMatchObject({
      contradictions: [{ reason: 'values', identifier_type: 'chip' }],
      waiting_entries: 1,
    });
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('of a new tag takes nothing away from another workspace', async () => {
    const [old, next] = [newChip(), newChip()];
    const retagging = { event_type: 'identifier_replaced', payload: { old, new: next } };
    const item = await send({ identifiers: [old] }, strangersKey);
    await send({ identifiers: [old], metadata: { retagged: true }, events: [retagging] }, strangersKey);
    await send({ identifiers: [old, next], metadata: { weight: 2 } });
    const { rows } = await application.database.pool.query<{ entry_id: string }>(
      `select entry_id from entries where item_number = $1 and record -> 'ended' is not null`,
      [parseInt(item.dfid.split('-')[4]!, 10)],
    );
    const body = { entry_id: rows[0]!.entry_id, reason: 'another animal' };

    await done(await ask('POST', `/api/items/${item.dfid}/corrections`, body, strangersKey), 200);

    expect((await read(item.dfid)).item.metadata).toEqual({ weight: 2 });
  });

  test('is done once, also by several at the same time', async () => {
    const sisbov = newSisbov();
    const item = await send({ identifiers: [sisbov] });
    await send({ identifiers: [sisbov], metadata: { once: 1 } });
    const body = { entry_id: await entryOf(item.dfid, 'once'), reason: 'a typing mistake' };

    const answers = await Promise.all(
      Array.from({ length: 4 }, () => ask('POST', `/api/items/${item.dfid}/corrections`, body)),
    );

    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409, 409, 409]);
  });

  test('shows in the provenance an entry once for an identifier that it names twice', async () => {
    const [sisbov, old, next] = [newSisbov(), newChip(), newChip()];
    const retagging = { event_type: 'identifier_replaced', payload: { old, new: next } };
    const item = await send({ identifiers: [sisbov, old, next], events: [retagging] });

    const { identifiers } = (await provenanceOf(item.dfid)) as { identifiers: { sources: object[] }[] };

    expect(identifiers.map(({ sources }) => sources.length)).toEqual([1, 1, 1]);
  });

  test('shows in the provenance only what still counts', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const item = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    await send({ identifiers: [sisbov, chip], metadata: { weight: 2, typo: 1 } });
    const body = { entry_id: await entryOf(item.dfid, 'typo'), reason: 'a typing mistake' };

    await done(await ask('POST', `/api/items/${item.dfid}/corrections`, body), 200);

    expect(await provenanceOf(item.dfid)).toMatchObject({
      identifiers: [{ value: sisbov.value }],
      fields: [{ field: 'weight', value: 1, overwritten: [] }],
    });
  });

  test('finds no entry of others', async () => {
    const sisbov = newSisbov();
    const item = await send({ identifiers: [sisbov], metadata: { ours: 1 } });
    await send({ identifiers: [sisbov] }, strangersKey);
    const body = { entry_id: await entryOf(item.dfid, 'ours'), reason: 'mischief' };
    expect(await refusal(await ask('POST', `/api/items/${item.dfid}/corrections`, body, strangersKey))).toEqual([
      404,
      'not_found',
    ]);
  });
});

describe('POST /api/items/{dfid}/relationships', () => {
  test('says what was made of what, n to m, with quantities, and refuses a circle', async () => {
    const [first, second, flour] = [
      await send({ identifiers: [newSisbov()] }),
      await send({ identifiers: [newSisbov()] }),
      await send({ identifiers: [newSisbov()] }),
    ];
    const made = await done<object[]>(
      await ask('POST', `/api/items/${flour.dfid}/relationships`, {
        relationship_type: 'derived',
        direction: 'inputs',
        related: [
          { dfid: first.dfid, quantity: 10.5, unit: 'kg' },
          { dfid: second.dfid, quantity: '4', unit: 'kg' },
        ],
      }),
      200,
    );

    expect(made).toMatchObject([
      { primary_dfid: first.dfid, related_dfid: flour.dfid, quantity: '10.5', unit: 'kg' },
      { primary_dfid: second.dfid, related_dfid: flour.dfid, quantity: '4', unit: 'kg' },
    ]);
    const circle = { relationship_type: 'derived', related: [{ dfid: first.dfid }] };
    expect(await refusal(await ask('POST', `/api/items/${flour.dfid}/relationships`, circle))).toEqual([
      422,
      'invalid_request',
    ]);
  });
});
