import { z } from 'zod';
import { Problem } from '#platform/errors.ts';
import { listBody } from '#platform/page.ts';
import { defineRoute, type Route } from '#platform/route.ts';
import {
  canonicalIdentifierSchema,
  createCanonicalIdentifierBody,
  identifierTypeListSchema,
  updateCanonicalIdentifierBody,
} from './canonical-identifiers.schema.ts';
import type { CanonicalIdentifiersService } from './canonical-identifiers.service.ts';
import { parseValueChain } from './value-chain.ts';

const tag = 'Admin';
const inForce = 'in force in all processes two seconds later, for records that are worked on from then on';

/** The routes by which administrators decide what identifiers mean. */
export function canonicalIdentifierRoutes(canonicalIdentifiers: CanonicalIdentifiersService): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/admin/canonical-identifiers',
      access: 'admin',
      tag,
      summary: `Make a type of identifiers canonical in a value chain, and make the type if it is new; ${inForce}`,
      body: createCanonicalIdentifierBody,
      responses: {
        201: {
          description: 'The type is canonical in the chain; again the same id',
          schema: canonicalIdentifierSchema,
        },
      },
      problems: ['identifier_type_name_taken', 'identifier_type_in_use'],
      isIdempotent: true,
      isRepeatable: true,
      async handle({ body: { identifier_type: name, value_chain: valueChain, ...changes } }) {
        return { status: 201, body: await canonicalIdentifiers.enable(name, valueChain, changes) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/admin/canonical-identifiers/value-chain/{value_chain}',
      access: 'admin',
      tag,
      summary: 'The types of identifiers that are canonical in a value chain, and those that were',
      responses: { 200: { description: 'All of them, by name', schema: z.array(canonicalIdentifierSchema) } },
      async handle({ parameters }) {
        const valueChain = parseValueChain(parameters['value_chain']!);
        if (!valueChain) throw new Problem('not_found', 'there is no value chain of this name');
        return { status: 200, body: await canonicalIdentifiers.list(valueChain) };
      },
    }),
    defineRoute({
      method: 'patch',
      path: '/api/admin/canonical-identifiers/{id}',
      access: 'admin',
      tag,
      summary: `Make a type canonical in a value chain or contextual there, or change the type in all chains; ${inForce}`,
      body: updateCanonicalIdentifierBody,
      responses: { 200: { description: 'As it is now', schema: canonicalIdentifierSchema } },
      problems: ['identifier_type_name_taken', 'identifier_type_in_use'],
      async handle({ parameters, body: { is_active: isActive, ...changes } }) {
        return { status: 200, body: await canonicalIdentifiers.update(parameters['id']!, isActive, changes) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/admin/identifier-types',
      access: 'admin',
      tag,
      summary: 'Every type of identifiers, with what it means and where it is canonical',
      responses: { 200: { description: 'All of them, by name', schema: identifierTypeListSchema } },
      async handle() {
        const rows = await canonicalIdentifiers.listTypes();
        const page = { rows, total: rows.length, nextPosition: undefined };
        return { status: 200, body: listBody('identifier_types', page, (type) => type) };
      },
    }),
  ];
}
