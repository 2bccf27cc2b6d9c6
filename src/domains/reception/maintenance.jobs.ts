import { z } from 'zod';
import { defineQueue } from '#platform/queue/definition.ts';

/** One job per task that is due. */
export const maintenanceQueue = defineQueue({
  name: 'maintenance',
  description: 'Erases what is kept for a time only, and seals secrets of webhooks with the key of now.',
  schema: z.object({ task: z.string() }),
});
