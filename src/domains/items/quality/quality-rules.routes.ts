import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { qualityRuleBody, qualityRuleListSchema, qualityRuleSchema } from './quality-rules.schema.ts';
import type { QualityRulesService } from './quality-rules.service.ts';

const tag = 'Quality rules';
const path = '/api/items/quality-rules';

/** The routes under /api/items/quality-rules. They stand before /api/items/{id}, which would take their path. */
export function qualityRuleRoutes(rules: QualityRulesService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path,
      access: 'read',
      tag,
      summary: 'What your workspace demands of its records',
      responses: { 200: { description: 'All rules by name', schema: qualityRuleListSchema } },
      handle: async (request) => ({ status: 200, body: await rules.list(principalOf(request).workspaceId) }),
    }),
    defineRoute({
      method: 'post',
      path,
      access: 'write',
      tag,
      summary: 'Hold records that break a new rule',
      body: qualityRuleBody,
      responses: { 201: { description: 'The rule, in force from now on', schema: qualityRuleSchema } },
      problems: ['name_in_use'],
      isIdempotent: true,
      isRepeatable: true,
      async handle(request) {
        const rule = await rules.create(principalOf(request).workspaceId, request.body);
        return { status: 201, headers: { location: `${path}/${rule.id}` }, body: rule };
      },
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}`,
      access: 'read',
      tag,
      summary: 'One quality rule',
      responses: { 200: { description: 'The rule', schema: qualityRuleSchema } },
      handle: async (request) => ({
        status: 200,
        body: await rules.get(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'put',
      path: `${path}/{id}`,
      access: 'write',
      tag,
      summary: 'Replace a quality rule',
      body: qualityRuleBody,
      responses: { 200: { description: 'The rule as it is now', schema: qualityRuleSchema } },
      problems: ['name_in_use'],
      handle: async (request) => ({
        status: 200,
        body: await rules.replace(principalOf(request).workspaceId, request.parameters['id']!, request.body),
      }),
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/{id}`,
      access: 'write',
      tag,
      summary: 'Remove a quality rule; records that it holds keep waiting',
      responses: { 204: { description: 'Removed' } },
      async handle(request) {
        await rules.remove(principalOf(request).workspaceId, request.parameters['id']!);
        return { status: 204 };
      },
    }),
  ];
}
