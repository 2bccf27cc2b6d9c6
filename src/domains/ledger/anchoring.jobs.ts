import { z } from 'zod';
import { defineQueue } from '#platform/queue/definition.ts';

/** One lane for the installation: whatever rings, the next entries are made and signed. */
export const anchoringQueue = defineQueue({
  name: 'anchoring',
  description: 'Takes committed events into the transparency log, signs it, and anchors what is signed on Stellar.',
  schema: z.object({}),
});
