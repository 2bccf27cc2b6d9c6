import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import {
  conflictDetailsSchema,
  conflictListQuery,
  conflictListSchema,
  resolveConflictBody,
} from './conflicts.schema.ts';
import type { ConflictsService } from './conflicts.service.ts';
import type { ConflictResolution } from './resolve-conflict.ts';
import type { Principal } from '#platform/route.ts';

const tag = 'Conflicts';

/** The routes under /api/conflicts. */
export function conflictRoutes(
  conflicts: ConflictsService,
  resolve: (principal: Principal, conflictId: string, resolution: ConflictResolution) => Promise<void>,
): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/conflicts',
      access: 'read',
      tag,
      summary: 'Find cases that a person has to decide, or decided, newest first',
      query: conflictListQuery,
      responses: { 200: { description: 'A page of conflicts', schema: conflictListSchema } },
      async handle(request) {
        const { limit, offset, cursor, identifier_type: identifierType, ...filter } = request.query;
        const found = await conflicts.list(
          principalOf(request),
          { ...filter, identifierType },
          { limit, offset, cursor },
        );
        return { status: 200, body: listBody('conflicts', found, (row) => row) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/conflicts/{id}',
      access: 'read',
      tag,
      summary: 'A case with its evidence: which records and which identifiers contradict',
      responses: { 200: { description: 'What your workspace may see of it', schema: conflictDetailsSchema } },
      async handle(request) {
        return { status: 200, body: await conflicts.get(principalOf(request), request.parameters['id']!) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/conflicts/{id}/resolve',
      access: 'write',
      tag,
      summary: 'Decide a case: its records are finished, and the same identifiers do not ask again',
      body: resolveConflictBody,
      responses: { 200: { description: 'The case as it was decided', schema: conflictDetailsSchema } },
      problems: ['not_found', 'conflict_resolved', 'administrator_required'],
      async handle(request) {
        const { action, dfid, reason } = request.body;
        const principal = principalOf(request);
        const conflictId = request.parameters['id']!;
        await resolve(principal, conflictId, { action, dfid: dfid ?? undefined, reason });
        return { status: 200, body: await conflicts.get(principal, conflictId) };
      },
    }),
  ];
}
