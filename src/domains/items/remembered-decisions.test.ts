import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import {
  createWorkspace,
  emptyIdentityTables,
  findBrokenRules,
  makeAbsorber,
  receiptOf,
  type Absorber,
  type TestWorkspace,
} from '../../testing/deduplication.ts';
import { evidenceHash } from './evidence.ts';
import { claimKey } from './judge-record.ts';

let testDatabase: TestDatabase;
let database: Database;
let absorber: Absorber;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
  absorber = makeAbsorber(database);
});

beforeEach(() => emptyIdentityTables(database));

afterAll(async () => {
  await absorber.close();
  await database.close();
  await testDatabase.drop();
});

const animal = (sisbov: string, chip: string) => ({
  identifiers: [
    { identifier_type: 'sisbov', value: sisbov },
    { identifier_type: 'chip', value: chip },
  ],
});
const [sisbov, chip, otherChip] = ['105000000000001', '982000000000001', '982000000000002'] as const;

async function remember(workspace: TestWorkspace, action: 'attach' | 'reject', itemNumber: number | null) {
  await database.pool.query(
    `insert into remembered_decisions (workspace_id, evidence_hash, action, item_number, conflict_id) values ($1, $2, $3, $4, $5)`,
    [
      workspace.id,
      evidenceHash([claimKey('sisbov', sisbov), claimKey('chip', otherChip)]),
      action,
      itemNumber,
      makeId(),
    ],
  );
}

async function absorbContradiction(workspace: TestWorkspace): Promise<string> {
  const [verdict] = await absorber.absorb(workspace, receiptOf(animal(sisbov, otherChip)));
  return verdict!.status;
}

test('what a workspace decided about identifiers holds for its next record with them, and for no one else', async () => {
  const [one, other] = [await createWorkspace(database), await createWorkspace(database)];
  await absorber.absorb(one, receiptOf(animal(sisbov, chip)));
  expect(await absorbContradiction(one)).toBe('conflicted');

  await remember(one, 'reject', null);

  expect(await absorbContradiction(one)).toBe('rejected');
  expect(await absorbContradiction(other)).toBe('conflicted');
});

test('a record that a workspace decided to attach becomes part of the item', async () => {
  const workspace = await createWorkspace(database);
  await absorber.absorb(workspace, receiptOf(animal(sisbov, chip)));
  const { rows } = await database.pool.query<{ item_number: number }>('select item_number from items');

  await remember(workspace, 'attach', rows[0]!.item_number);

  expect(await absorbContradiction(workspace)).toBe('completed');
});

test('what waited when a workspace rejected its like is rejected when it is tried again, and waits for nobody', async () => {
  const workspace = await createWorkspace(database);
  await absorber.absorb(workspace, receiptOf(animal(sisbov, chip)));
  expect(await absorbContradiction(workspace)).toBe('conflicted');
  await remember(workspace, 'reject', null);

  const payload = {
    old: { identifier_type: 'chip', value: chip },
    new: { identifier_type: 'chip', value: '982000000000003' },
  };
  const replacement = { ...animal(sisbov, chip), events: [{ event_type: 'identifier_replaced', payload }] };
  await absorber.absorb(workspace, receiptOf(replacement));

  const { rows } = await database.pool.query(
    `select status, dismissed_at is not null as is_dismissed from entries where status <> 'completed'`,
  );
  expect(rows).toEqual([{ status: 'rejected', is_dismissed: true }]);
  expect(await findBrokenRules(database)).toEqual([]);
});
