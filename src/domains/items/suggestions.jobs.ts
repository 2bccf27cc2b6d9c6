import { z } from 'zod';
import { defineQueue } from '#platform/queue/definition.ts';

/** One job per workspace that asked for suggestions and whose items changed. */
export const suggestionsQueue = defineQueue({
  name: 'suggestions',
  description: 'Compares items that changed with others of their workspace that are like them.',
  schema: z.object({ workspace_id: z.string() }),
});
