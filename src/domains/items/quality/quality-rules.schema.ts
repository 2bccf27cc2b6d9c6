import { z } from 'zod';
import { parseValueChain } from '../value-chain.ts';
import { identifierFieldPrefix, occurredAtField, readDate, severities, type Severity } from './quality-rules.ts';

const valuesMax = 1000;
const textMax = 256;

const date = z.string().refine((text) => readDate(text) !== undefined, 'a date is such as 2025-03-14');
const bounded = z.strictObject;

const conditionSchema = z.discriminatedUnion('check', [
  bounded({ check: z.literal('required') }),
  bounded({ check: z.literal('not_blank') }),
  bounded({
    check: z.literal('number_between'),
    minimum: z.number().nullable().default(null),
    maximum: z.number().nullable().default(null),
  }),
  bounded({
    check: z.literal('one_of'),
    values: z
      .array(z.union([z.string().max(textMax), z.number(), z.boolean()]))
      .min(1)
      .max(valuesMax),
  }),
  bounded({
    check: z.literal('date_between'),
    earliest: date.nullable().default(null),
    latest: date.nullable().default(null),
  }),
  bounded({ check: z.literal('max_length'), length: z.number().int().min(0).max(1_048_576) }),
]);

/** Words that the contract writes with a capital, taken in any case. */
export const severitySchema = z.preprocess(
  (sent) =>
    typeof sent === 'string' ? (severities.find((one) => one.toLowerCase() === sent.toLowerCase()) ?? sent) : sent,
  z.enum(severities),
);

const printable = /^[^\p{Cc}\p{Cs}]*$/u;
const label = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(printable, 'no control characters')
    .refine((text) => text.trim() !== '', 'must not be blank');

export const qualityRuleBody = z
  .strictObject({
    name: label(100),
    value_chain: z
      .string()
      .nullable()
      .default(null)
      .transform((sent, context) => {
        const chain = sent === null ? null : parseValueChain(sent);
        if (chain !== undefined) return chain;
        context.addIssue({ code: 'custom', message: 'the value chain is not known' });
        return z.NEVER;
      }),
    field: label(textMax).meta({
      description: `${occurredAtField}, ${identifierFieldPrefix}<type>, or the name of a metadata field`,
    }),
    condition: conditionSchema,
    severity: severitySchema.default('Medium' satisfies Severity),
    action: z.literal('hold').default('hold').meta({ description: 'The record waits until somebody decides' }),
  })
  .superRefine(({ field, condition }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (field === identifierFieldPrefix) refuse(['field'], 'names the type after the point');
    if (field === occurredAtField && !['required', 'date_between'].includes(condition.check))
      refuse(
        ['condition', 'check'],
        `${occurredAtField} is always a time: only required and date_between say anything of it`,
      );
    if (condition.check === 'number_between') {
      const { minimum, maximum } = condition;
      if (minimum === null && maximum === null) refuse(['condition'], 'names a minimum or a maximum');
      if (minimum !== null && maximum !== null && minimum > maximum)
        refuse(['condition', 'maximum'], 'is below the minimum');
    }
    if (condition.check === 'date_between') {
      const { earliest, latest } = condition;
      if (earliest === null && latest === null) refuse(['condition'], 'names an earliest or a latest date');
      if (earliest !== null && latest !== null && readDate(earliest)!.firstMicros > readDate(latest)!.lastMicros)
        refuse(['condition', 'latest'], 'is before the earliest');
    }
  });

export const qualityRuleSchema = z
  .object({
    id: z.uuid(),
    name: z.string(),
    value_chain: z.string().nullable(),
    field: z.string(),
    condition: z.object({ check: z.string() }).loose(),
    severity: z.enum(severities),
    action: z.literal('hold'),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'QualityRule' });

export const qualityRuleListSchema = z.object({
  quality_rules: z.array(qualityRuleSchema),
  count: z.number().int(),
  total: z.number().int(),
  next_cursor: z.null(),
});
