import { z } from 'zod';
import { anyCase, listSchema } from '#platform/page.ts';
import { typeName, valueChainName } from './canonical-identifiers.schema.ts';
import { fingerprintPeriods } from './identifier-types.ts';
import { valueChains } from './value-chain.ts';

const identifierTypesMax = 10;

export const createFingerprintRuleBody = z
  .object({
    name: z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, 'a name is snake_case'),
    value_chains: z
      .array(valueChainName)
      .max(valueChains.length)
      .transform((chains) => [...new Set(chains)])
      .meta({ description: 'Where the rule holds; none switches it off' }),
    identifier_types: z
      .array(typeName)
      .min(1)
      .max(identifierTypesMax)
      .meta({ description: 'Contextual types whose values identify an item together, inside one workspace' }),
    period: anyCase(z.enum(fingerprintPeriods)).meta({
      description: '`year`: within the year of the record; `cycle`: one of the types names the crop cycle',
    }),
  })
  .meta({ id: 'CreateFingerprintRuleRequest' });

export const fingerprintRuleSchema = z
  .object({
    name: z.string(),
    version: z.number().int(),
    value_chains: z.array(z.string()),
    identifier_types: z.array(z.string()),
    period: z.enum(fingerprintPeriods),
    is_active: z.boolean(),
  })
  .meta({ id: 'FingerprintRule' });

export const fingerprintRuleListSchema = listSchema('fingerprint_rules', fingerprintRuleSchema);
