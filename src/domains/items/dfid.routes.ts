import { z } from 'zod';
import { defineRoute, type Route } from '#platform/route.ts';
import { isCountryCode } from './country.ts';
import { parseDfid } from './dfid.ts';
import type { ItemsService } from './items.service.ts';
import { parseValueChain } from './value-chain.ts';

const tag = 'DFID';

const generateBody = z
  .object({
    value_chain: z.string().transform((text, context) => parseValueChain(text) ?? fault(context, 'not a value chain')),
    country: z
      .string()
      .transform((text) => text.toUpperCase())
      .refine(isCountryCode, 'not an ISO 3166-1 alpha-2 code'),
    year: z.number().int().min(1900).max(2100),
  })
  .meta({ id: 'DfidGenerateRequest' });

function fault(context: z.RefinementCtx, message: string): never {
  context.addIssue(message);
  return z.NEVER;
}

const generateAnswer = z.object({ dfid: z.string() }).meta({ id: 'DfidGenerateResponse' });

const validateAnswer = z
  .object({
    valid: z.boolean().meta({ description: 'Whether form and checksum are right; not whether an item has this DFID' }),
    dfid: z.string(),
    components: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: 'DfidValidateResponse' });

/** The routes under /api/dfid. */
export function dfidRoutes(items: ItemsService): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/dfid/generate',
      access: 'write',
      tag,
      summary: 'Take a number and spell it as a DFID; no item gets it',
      body: generateBody,
      responses: { 200: { description: 'A DFID that nobody else has', schema: generateAnswer } },
      isIdempotent: true,
      handle: ({ body, idempotency }) =>
        items.generateDfid({ valueChain: body.value_chain, country: body.country, year: body.year }, idempotency),
    }),
    defineRoute({
      method: 'post',
      path: '/api/dfid/validate',
      access: 'read',
      tag,
      summary: 'Check form and checksum of a DFID of either generation',
      body: z.object({ dfid: z.string().max(1000) }).meta({ id: 'DfidValidateRequest' }),
      responses: { 200: { description: 'The verdict', schema: validateAnswer } },
      async handle({ body }) {
        const reading = parseDfid(body.dfid);
        return {
          status: 200,
          body: {
            valid: reading.valid,
            dfid: body.dfid,
            ...(reading.components ? { components: reading.components } : {}),
          },
        };
      },
    }),
  ];
}
