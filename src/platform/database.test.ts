import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTestDatabase } from '../testing/database.ts';
import { openPostgresLink, type SeverableLink } from '../testing/severable-link.ts';
import { openDatabase, withTransaction, type Database } from './database.ts';

describe('a connection that breaks', () => {
  let drop: () => Promise<void>;
  let link: SeverableLink;
  let database: Database;

  beforeEach(async () => {
    const created = await createTestDatabase();
    drop = created.drop;
    const opened = await openPostgresLink(created.url);
    link = opened.link;
    database = openDatabase({ url: opened.url, poolSize: 4, applicationName: 'test' });
  });

  afterEach(async () => {
    await database.close();
    await link.close();
    await drop();
  });

  async function severWhile(work: Promise<unknown>): Promise<unknown> {
    const failure = work.then(
      () => undefined,
      (error: unknown) => error,
    );
    await link.sever();
    await link.restore();
    return failure;
  }

  it('under a query of knex fails that query, and the next one has a new connection', async () => {
    await database.knex.raw('select 1');

    const failure = await severWhile(database.knex.raw('select pg_sleep(20)'));

    expect(failure).toBeInstanceOf(Error);
    await expect(database.knex.select(database.knex.raw('1 as one'))).resolves.toEqual([{ one: 1 }]);
  });

  it('between two statements of a transaction fails the transaction, and the next one has a new connection', async () => {
    const failure = await withTransaction(database.pool, async (client) => {
      await client.query('select 1');
      await link.sever();
      await link.restore();
      await client.query('select 2');
    }).catch((error: unknown) => error);

    expect(failure).toBeInstanceOf(Error);
    await expect(withTransaction(database.pool, (client) => client.query('select 3 as three'))).resolves.toMatchObject({
      rows: [{ three: 3 }],
    });
  });

  it('while nobody has it in hand leaves the pool, and the next query has a new one', async () => {
    await Promise.all([database.pool.query('select 1'), database.pool.query('select 1')]);

    await link.sever();
    await link.restore();
    await vi.waitFor(() => expect(database.pool.totalCount).toBe(0));

    await expect(database.pool.query('select 1 as one')).resolves.toMatchObject({ rows: [{ one: 1 }] });
  });
});
