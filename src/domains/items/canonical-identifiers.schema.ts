import { z } from 'zod';
import { anyCase, listSchema } from '#platform/page.ts';
import { foldName } from './fold-name.ts';
import { cardinalities, identifierSubjects, normaliserNames } from './identifier-types.ts';
import { parseValueChain } from './value-chain.ts';

/** Names of types have no colon, which the claims of fingerprints begin with. */
const typeNamePattern = /^[a-z0-9](?:[a-z0-9 _-]{0,62}[a-z0-9])?$/;
const aliasesMax = 50;

/** The name of a type as a client sends it, folded. */
export const typeName = z
  .string()
  .max(100)
  .transform(foldName)
  .refine((name) => typeNamePattern.test(name), 'a name is 1 to 64 letters a to z, digits, blanks, - and _');

/** A value chain by code or Portuguese name. */
export const valueChainName = z.string().transform((text, context) => {
  const chain = parseValueChain(text);
  if (chain) return chain;
  context.addIssue('not a value chain');
  return z.NEVER;
});

const meaning = {
  subject: anyCase(z.enum(identifierSubjects)).optional().meta({ description: 'Only `item` identifies an item' }),
  cardinality: anyCase(z.enum(cardinalities))
    .optional()
    .meta({ description: 'How many values of the type one item can have at one time' }),
  aliases: z
    .array(typeName)
    .max(aliasesMax)
    .optional()
    .meta({ description: 'All other names under which the type is sent; without accents and in lower case' }),
  normaliser: anyCase(z.enum(normaliserNames))
    .optional()
    .meta({ description: 'The built-in rule by which values are checked and compared' }),
};

export const createCanonicalIdentifierBody = z
  .strictObject({
    value_chain: valueChainName,
    identifier_type: typeName,
    ...meaning,
    scope: anyCase(z.literal('global')).optional().meta({ description: 'Canonical types have no other' }),
  })
  .meta({ id: 'CreateCanonicalIdentifierRequest' });

export const updateCanonicalIdentifierBody = z
  .strictObject({ is_active: z.boolean().optional(), ...meaning })
  .refine((body) => Object.values(body).some((value) => value !== undefined), 'nothing to change')
  .meta({ id: 'UpdateCanonicalIdentifierRequest' });

const shownMeaning = {
  identifier_type: z.string(),
  subject: z.enum(identifierSubjects),
  cardinality: z.enum(cardinalities),
  aliases: z.array(z.string()),
  scope: z.enum(['global', 'workspace']),
  normaliser: z.enum(normaliserNames),
};

export const canonicalIdentifierSchema = z
  .object({
    id: z.uuid(),
    value_chain: z.string(),
    is_active: z.boolean(),
    created_at: z.iso.datetime(),
    ...shownMeaning,
  })
  .meta({ id: 'CanonicalIdentifierResponse' });

export const identifierTypeListSchema = listSchema(
  'identifier_types',
  z
    .object({
      ...shownMeaning,
      value_chains: z.array(z.string()).meta({ description: 'Where the type is canonical now' }),
      is_active: z.boolean().meta({ description: 'False when records are read as if the type were not known' }),
    })
    .meta({ id: 'IdentifierType' }),
);
