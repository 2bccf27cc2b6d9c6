import { z } from 'zod';
import { defineQueue } from '#platform/queue/definition.ts';

/** Whatever rings, the next batch is packed, stored or checked. */
export const storageQueue = defineQueue({
  name: 'storage',
  description:
    'Packs contents of items into batches, stores these where workspaces want them, and checks that they stay there.',
  schema: z.object({}),
});
