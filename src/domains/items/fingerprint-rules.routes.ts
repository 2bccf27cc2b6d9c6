import { listBody } from '#platform/page.ts';
import { defineRoute, type Route } from '#platform/route.ts';
import {
  createFingerprintRuleBody,
  fingerprintRuleListSchema,
  fingerprintRuleSchema,
} from './fingerprint-rules.schema.ts';
import type { FingerprintRulesService } from './fingerprint-rules.service.ts';

const tag = 'Admin';

/** The routes by which administrators decide which sets of contextual identifiers identify an item. */
export function fingerprintRuleRoutes(fingerprintRules: FingerprintRulesService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/admin/fingerprint-rules',
      access: 'admin',
      tag,
      summary: 'The sets of contextual identifiers that identify an item together, in all their versions',
      responses: { 200: { description: 'By name, the newest first', schema: fingerprintRuleListSchema } },
      async handle() {
        const rows = await fingerprintRules.list();
        const page = { rows, total: rows.length, nextPosition: undefined };
        return { status: 200, body: listBody('fingerprint_rules', page, (rule) => rule) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/admin/fingerprint-rules',
      access: 'admin',
      tag,
      summary:
        'Put a set of contextual identifiers in force, in place of the one of this name; in all processes two seconds later',
      body: createFingerprintRuleBody,
      responses: {
        200: { description: 'It was in force already', schema: fingerprintRuleSchema },
        201: {
          description: 'In force as a new version, which matches nothing of the one before',
          schema: fingerprintRuleSchema,
        },
      },
      isIdempotent: true,
      isRepeatable: true,
      async handle({ body: { name, value_chains: valueChains, identifier_types: identifierTypes, period } }) {
        const { isNew, rule } = await fingerprintRules.put({ name, valueChains, identifierTypes, period });
        return { status: isNew ? 201 : 200, body: rule };
      },
    }),
  ];
}
