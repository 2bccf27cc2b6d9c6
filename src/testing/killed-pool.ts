import type pg from 'pg';

/**
 * Connections of a process that is killed before or after some statement: what it did not send never happened, and its open
 * transactions are rolled back.
 * @param at which statement, from 1.
 */
export function killedAt(pool: pg.Pool, at: number, isAfter: boolean): pg.Pool {
  let left = at;
  const counted =
    (run: (...all: unknown[]) => Promise<unknown>) =>
    async (...parameters: unknown[]) => {
      left -= 1;
      if (left < 0 || (left === 0 && !isAfter)) throw new KilledError();
      const result = await run(...parameters);
      if (left === 0) throw new KilledError();
      return result;
    };
  const query = counted((...all) => (pool.query as (...every: unknown[]) => Promise<unknown>).apply(pool, all));
  const connect = async () => {
    const client = await pool.connect();
    const run = client.query.bind(client) as unknown as (...all: unknown[]) => Promise<unknown>;
    return new Proxy(client, {
      get(target, name) {
        if (name === 'query') return counted(run);
        // A connection of a killed process is gone, and so is what it did not commit.
        if (name === 'release') return () => target.release(left <= 0);
        const value = Reflect.get(target, name) as unknown;
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  };
  return { query, connect } as unknown as pg.Pool;
}

export class KilledError extends Error {
  constructor() {
    super('killed');
  }
}
