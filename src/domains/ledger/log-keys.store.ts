import type { Queryable } from '#platform/database.ts';

export interface LogKeyRow {
  verifier_key: string;
  from_size: number;
  statement: string | null;
  index: number | null;
  seed: Buffer | null;
}

/** The keys that signed the log, the first one first. */
export async function listLogKeys(queryable: Queryable): Promise<LogKeyRow[]> {
  const { rows } = await queryable.query<LogKeyRow>({
    name: 'list_log_keys',
    text: 'select verifier_key, from_size, statement, index, seed from log_keys order by from_size',
  });
  return rows;
}

/** Notes a key that signs from now on. */
export async function insertLogKey(queryable: Queryable, key: LogKeyRow): Promise<void> {
  await queryable.query({
    name: 'insert_log_key',
    text: `insert into log_keys (verifier_key, from_size, statement, index, seed) values ($1, $2, $3, $4, $5)
           on conflict (verifier_key) do nothing`,
    values: [key.verifier_key, key.from_size, key.statement, key.index, key.seed],
  });
}
