import { runMigrations } from 'bullmq';
import pg from 'pg';

/** The schema in which BullMQ keeps its tables when the queues run in Postgres. */
export const queueSchemaName = 'bullmq';

/** Creates or updates BullMQ's own tables. They stay empty where Redis carries the queues. */
export async function createPostgresQueueSchema(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await runMigrations(client, queueSchemaName);
  } finally {
    await client.end();
  }
}
