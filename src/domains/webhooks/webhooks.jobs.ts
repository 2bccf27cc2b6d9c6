import { z } from 'zod';
import { defineQueue } from '#platform/queue/definition.ts';

/** Whatever rings, messages are made of committed events, and deliveries that are due are sent. */
export const webhooksQueue = defineQueue({
  name: 'webhooks',
  description: 'Makes deliveries of events for the endpoints that want them, and sends those that are due.',
  schema: z.object({}),
});
