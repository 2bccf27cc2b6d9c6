import { z } from 'zod';
import { defineQueue } from '#platform/queue/definition.ts';

/** One job per task that is due. */
export const maintenanceQueue = defineQueue({
  name: 'maintenance',
  description: 'Erases bodies and idempotency keys after their retention time.',
  schema: z.object({ task: z.string() }),
});
