import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { z } from 'zod';
import {
  appliedRetentionSchema,
  comparisonSchema,
  createComparisonBody,
  createRestorationBody,
  createRetentionPolicyBody,
  createSnapshotBody,
  restorationSchema,
  retentionPolicyQuery,
  retentionPolicySchema,
  snapshotListQuery,
  snapshotListSchema,
  snapshotSchema,
  updateRestorationBody,
} from './snapshots.schema.ts';
import type { SnapshotsService } from './snapshots.service.ts';

const tag = 'Snapshots';
const path = '/api/snapshots';

/** States of things as they were, which a workspace keeps, compares and goes back to. */
export function snapshotRoutes(snapshots: SnapshotsService): Route[] {
  // Before those that take any word for an id.
  return [
    ...retentionRoutes(snapshots),
    ...comparisonRoutes(snapshots),
    ...restorationRoutes(snapshots),
    ...keepingRoutes(snapshots),
  ];
}

function keepingRoutes(snapshots: SnapshotsService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path,
      access: 'read',
      tag,
      summary: 'The snapshots of your workspace, newest first',
      query: snapshotListQuery,
      responses: { 200: { description: 'A page of snapshots', schema: snapshotListSchema } },
      async handle(request) {
        const { limit, offset, cursor, is_archived: isArchived, ...equal } = request.query;
        const found = await snapshots.list(
          {
            workspaceId: principalOf(request).workspaceId,
            isArchived: isArchived === undefined ? undefined : isArchived === 'true',
            equal,
          },
          { limit, offset, cursor },
        );
        return { status: 200, body: listBody('snapshots', found, (snapshot) => snapshot) };
      },
    }),
    defineRoute({
      method: 'post',
      path,
      access: 'write',
      tag,
      summary: 'Keep the state of an item, or of anything else, as it is now',
      body: createSnapshotBody,
      responses: { 201: { description: 'The snapshot', schema: snapshotSchema } },
      problems: ['invalid_request', 'not_found', 'item_merged'],
      isIdempotent: true,
      handle: (request) => snapshots.create(principalOf(request), request.body, request.idempotency),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}`,
      access: 'read',
      tag,
      summary: 'One snapshot',
      responses: { 200: { description: 'The snapshot', schema: snapshotSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await snapshots.get(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/{id}`,
      access: 'write',
      tag,
      summary: 'Delete a snapshot, with its comparisons and what is known of its restorations',
      responses: { 204: { description: 'It is gone' } },
      problems: ['not_found'],
      async handle(request) {
        await snapshots.remove(principalOf(request).workspaceId, request.parameters['id']!);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/archive`,
      access: 'write',
      tag,
      summary: 'Archive a snapshot',
      responses: { 200: { description: 'The snapshot', schema: snapshotSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await snapshots.archive(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
  ];
}

function comparisonRoutes(snapshots: SnapshotsService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: `${path}/comparisons/{id}`,
      access: 'read',
      tag,
      summary: 'One comparison',
      responses: { 200: { description: 'The comparison', schema: comparisonSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await snapshots.comparison(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/compare`,
      access: 'write',
      tag,
      summary: 'Compare a snapshot with another one of the same thing',
      body: createComparisonBody,
      responses: { 201: { description: 'What differs', schema: comparisonSchema } },
      problems: ['not_found', 'invalid_request'],
      isIdempotent: true,
      handle: (request) =>
        snapshots.compare(
          principalOf(request).workspaceId,
          request.parameters['id']!,
          request.body,
          request.idempotency,
        ),
    }),
  ];
}

function restorationRoutes(snapshots: SnapshotsService): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: `${path}/{id}/restore`,
      access: 'write',
      tag,
      summary: 'Make an item what it was when the snapshot was made; what it is now is kept in another one',
      body: createRestorationBody,
      responses: { 201: { description: 'The restoration', schema: restorationSchema } },
      problems: ['not_found', 'invalid_request', 'item_merged', 'snapshot_damaged', 'record_too_large'],
      isIdempotent: true,
      handle: (request) =>
        snapshots.restore(request.parameters['id']!, {
          principal: principalOf(request),
          requestId: request.id,
          bodyBytes: request.bodyBytes,
          body: request.body,
          idempotency: request.idempotency,
        }),
    }),
    defineRoute({
      method: 'put',
      path: `${path}/restorations/{id}/status`,
      access: 'write',
      tag,
      summary: 'What became of a restoration; it is completed when it is there',
      body: updateRestorationBody,
      responses: { 200: { description: 'The restoration', schema: restorationSchema } },
      problems: ['not_found', 'restoration_completed'],
      handle: async (request) => ({
        status: 200,
        body: await snapshots.noteRestoration(
          principalOf(request).workspaceId,
          request.parameters['id']!,
          request.body.status,
        ),
      }),
    }),
  ];
}

function retentionRoutes(snapshots: SnapshotsService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: `${path}/retention-policies`,
      access: 'read',
      tag,
      summary: 'How long snapshots are kept',
      query: retentionPolicyQuery,
      responses: { 200: { description: 'The policies', schema: z.array(retentionPolicySchema) } },
      handle: async (request) => ({
        status: 200,
        body: await snapshots.policies(principalOf(request).workspaceId, request.query.circuit_id),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/retention-policies`,
      access: 'write',
      tag,
      summary: 'Decide how long snapshots of a type are kept; applied once an hour while it is active',
      body: createRetentionPolicyBody,
      responses: {
        201: { description: 'The policy', schema: retentionPolicySchema },
        200: { description: 'The one that is there for these snapshots, unchanged', schema: retentionPolicySchema },
      },
      problems: ['invalid_request'],
      isIdempotent: true,
      isRepeatable: true,
      async handle(request) {
        const { isNew, policy } = await snapshots.createPolicy(principalOf(request).workspaceId, request.body);
        return { status: isNew ? 201 : 200, body: policy };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${path}/retention-policies/{id}/apply`,
      access: 'write',
      tag,
      summary: 'Apply a policy now',
      responses: {
        200: { description: 'How many snapshots were archived or deleted', schema: appliedRetentionSchema },
      },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await snapshots.applyPolicy(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
  ];
}
