import { Problem } from '#platform/errors.ts';
import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import type { LocalItemMergesService } from './local-item-merges.service.ts';
import {
  collectAnswerSchema,
  collectRequestSchema,
  duplicatesQuery,
  duplicatesSchema,
  localItemDetailsSchema,
  localItemListQuery,
  localItemListSchema,
  mappingSchema,
  mergeAnswerSchema,
  mergeRequestSchema,
  organizeAnswerSchema,
  organizeRequestSchema,
  unmergeAnswerSchema,
  unmergeRequestSchema,
} from './local-items.schema.ts';
import type { LocalItemsService } from './local-items.service.ts';
import type { LocalItemStatus } from './local-items.store.ts';
import { showLocalItem } from './show-local-item.ts';

const tag = 'Local items';

const statuses: Readonly<Record<string, LocalItemStatus>> = {
  localonly: 'local_only',
  tokenized: 'tokenized',
  merged: 'merged',
  mergedinto: 'merged',
};

/** The routes under /api/items/local and /api/items/mapping. They come before those of /api/items/{id}. */
export function localItemRoutes(localItems: LocalItemsService, merges: LocalItemMergesService): Route[] {
  return [...collectingRoutes(localItems), ...organizingRoutes(merges), ...lookingRoutes(localItems)];
}

function collectingRoutes(localItems: LocalItemsService): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/items/local',
      access: 'write',
      tag,
      summary: 'Keep what was collected before anybody knows which item it is about, one record or many',
      rawBody: ['application/json'],
      describedBody: collectRequestSchema,
      responses: {
        200: {
          description: 'All of it was known already, or none of a batch could be taken',
          schema: collectAnswerSchema,
        },
        201: { description: 'Kept; a batch is answered item by item', schema: collectAnswerSchema },
      },
      isIdempotent: true,
      isRepeatable: true,
      problems: [
        'empty_body',
        'malformed_json',
        'invalid_request',
        'local_item_differs',
        'body_too_large',
        'slow_body',
        'overloaded',
      ],
      async handle(request) {
        const mediaType = (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
        if (mediaType !== 'application/json')
          throw new Problem('unsupported_media_type', 'send application/json', {
            headers: { accept: 'application/json' },
          });
        const { chunks, sizeBytes } = await request.receiveBody();
        if (sizeBytes === 0) throw new Problem('empty_body', 'send a JSON object');
        const { hasNew, body } = await localItems.collect(principalOf(request), Buffer.concat(chunks));
        return { status: hasNew ? 201 : 200, body };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/local',
      access: 'read',
      tag,
      summary: 'List local items, newest first',
      query: localItemListQuery,
      responses: {
        200: { description: 'A page of local items; shorter when they are large', schema: localItemListSchema },
      },
      async handle(request) {
        const { status, ...page } = request.query;
        const { workspaceId } = principalOf(request);
        const found = await localItems.list(workspaceId, status && statuses[status], page);
        return { status: 200, body: listBody('local_items', found, showLocalItem) };
      },
    }),
  ];
}

function organizingRoutes(merges: LocalItemMergesService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/items/local/duplicates',
      access: 'read',
      tag,
      summary: 'Groups of local items that share identifiers, oldest first',
      query: duplicatesQuery,
      responses: {
        200: {
          description:
            'A page of groups. One answer looks at 10,000 shared identifiers; is_complete tells when there are more',
          schema: duplicatesSchema,
        },
      },
      async handle(request) {
        const { workspaceId } = principalOf(request);
        return { status: 200, body: { success: true, data: await merges.findDuplicates(workspaceId, request.query) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/items/local/merge',
      access: 'write',
      tag,
      summary: 'Merge local items that were collected of the same thing',
      body: mergeRequestSchema,
      responses: { 200: { description: 'What the master knows now', schema: mergeAnswerSchema } },
      problems: [
        'not_found',
        'local_item_merged',
        'local_item_tokenized',
        'local_master_among_merged',
        'local_group_too_large',
        'overloaded',
      ],
      async handle(request) {
        const { master_lid: masterId, merge_lids: memberIds, merge_strategy: strategy } = request.body;
        const data = await merges.merge(principalOf(request), masterId, memberIds, strategy);
        return { status: 200, body: { success: true, data } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/items/local/unmerge',
      access: 'write',
      tag,
      summary: 'Take a merged local item out again, as if it had never been merged',
      body: unmergeRequestSchema,
      responses: { 200: { description: 'What both sides know now', schema: unmergeAnswerSchema } },
      problems: ['not_found', 'local_item_not_merged', 'local_item_tokenized', 'overloaded'],
      async handle(request) {
        const data = await merges.unmerge(principalOf(request), request.body.merged_lid);
        return { status: 200, body: { success: true, data } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/items/local/organize',
      access: 'write',
      tag,
      summary: 'Merge each group of duplicates into its oldest, or say what that would do',
      body: organizeRequestSchema,
      responses: {
        200: {
          description: 'What was merged and what was not; one request merges up to 5,000 local items',
          schema: organizeAnswerSchema,
        },
      },
      problems: ['overloaded'],
      async handle(request) {
        const { action, dry_run: isDryRun, merge_strategy: strategy, namespace: valueChain } = request.body;
        const data = await merges.organize(principalOf(request), { action, isDryRun, strategy, valueChain });
        return { status: 200, body: { success: true, data } };
      },
    }),
  ];
}

function lookingRoutes(localItems: LocalItemsService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/items/local/{local_id}',
      access: 'read',
      tag,
      summary: 'What a local item knows, and which decisions moved it',
      responses: { 200: { description: 'By UUID, with or without LID- before it', schema: localItemDetailsSchema } },
      async handle(request) {
        const { workspaceId } = principalOf(request);
        const data = await localItems.get(workspaceId, request.parameters['local_id']!);
        return { status: 200, body: { success: true, data } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/mapping/{local_id}',
      access: 'read',
      tag,
      summary: 'Which item a local id leads to',
      responses: { 200: { description: 'With the DFID of the item, if there is one', schema: mappingSchema } },
      async handle(request) {
        const { workspaceId } = principalOf(request);
        return { status: 200, body: await localItems.map(workspaceId, request.parameters['local_id']!) };
      },
    }),
  ];
}
