import type pg from 'pg';
import { withTransaction, type Queryable } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { isUuid } from '#platform/ids.ts';
import { holdEndpoints } from '../deliveries/queue.store.ts';
import { findEndpoint, type EndpointRow } from './endpoints.store.ts';

/** An endpoint of a workspace. @throws Problem not_found */
export async function readEndpoint(queryable: Queryable, workspaceId: string, id: string): Promise<EndpointRow> {
  const row = isUuid(id) ? await findEndpoint(queryable, workspaceId, id) : undefined;
  if (!row) throw new Problem('not_found', 'there is no webhook with this id in your workspace');
  return row;
}

/** Does work in a transaction that holds an endpoint. */
export function withHeldEndpoint<Result>(
  pool: pg.Pool,
  endpointId: string,
  work: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  return withTransaction(pool, async (client) => {
    await holdEndpoints(client, [endpointId]);
    return work(client);
  });
}
