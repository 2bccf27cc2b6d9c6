import { z } from 'zod';
import { Problem } from '#platform/errors.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import type { MergeStrategy } from '../refold/refold-contents.ts';
import {
  correctionAnswer,
  correctionBody,
  declareRelationshipsBody,
  mergeItemsAnswer,
  mergeItemsBody,
  relationshipSchema,
  unmergeItemAnswer,
  unmergeItemBody,
} from './item-acts.schema.ts';
import type { ItemActs } from './item-acts.service.ts';
import type { ItemRelationships } from './item-relationships.service.ts';

const tag = 'Workflows';
const mergeStrategies: readonly MergeStrategy[] = ['append', 'keep_first', 'overwrite'];

/** The routes by which persons decide what is one item, and say how items relate. */
export function itemActRoutes(acts: ItemActs, relationships: ItemRelationships): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/items/{dfid}/merge',
      access: 'write',
      tag,
      summary: 'Make another item part of this one',
      body: mergeItemsBody,
      responses: { 200: { description: 'What the two are now', schema: mergeItemsAnswer } },
      problems: ['not_found', 'item_merged', 'administrator_required', 'unknown_strategy'],
      async handle(request) {
        const { secondary_dfid: secondary, strategy, reason } = request.body;
        const item = await acts.merge(principalOf(request), {
          primary: request.parameters['dfid']!,
          secondary,
          strategy: readStrategy(strategy),
          reason: reason ?? null,
        });
        return { status: 200, body: { merged_item: item, message: 'The items were merged' } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/items/{dfid}/unmerge',
      access: 'write',
      tag,
      summary: 'Take an item out of the one that it became, as if the two had never been one',
      body: unmergeItemBody,
      isBodyOptional: true,
      responses: { 200: { description: 'The item that is itself again', schema: unmergeItemAnswer } },
      problems: ['not_found', 'item_not_merged', 'primary_merged', 'item_archived', 'administrator_required'],
      async handle(request) {
        const { restored, survivor } = await acts.unmerge(
          principalOf(request),
          request.parameters['dfid']!,
          request.body?.reason ?? null,
        );
        return {
          status: 200,
          body: {
            restored_item: restored,
            primary_item: survivor,
            primary_dfid: survivor.dfid,
            restored_dfid: restored.dfid,
            status: 'unmerged',
            message: 'The items are apart again',
          },
        };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/items/{dfid}/corrections',
      access: 'write',
      tag,
      summary: 'Withdraw what one entry of your workspace brought; values fall back, history stays',
      body: correctionBody,
      responses: { 200: { description: 'The item without it', schema: correctionAnswer } },
      problems: ['not_found', 'item_merged', 'entry_withdrawn', 'administrator_required'],
      async handle(request) {
        const { entry_id: entryId, reason } = request.body;
        const item = await acts.withdraw(principalOf(request), request.parameters['dfid']!, entryId, reason);
        return { status: 200, body: { item, message: 'The entry was withdrawn' } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/{dfid}/relationships',
      access: 'read',
      tag,
      summary: 'What an item was made of, what was made of it, and what turned out to be it',
      responses: { 200: { description: 'All that your workspace knows of', schema: z.array(relationshipSchema) } },
      async handle(request) {
        return { status: 200, body: await relationships.list(principalOf(request), request.parameters['dfid']!) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/items/{dfid}/relationships',
      access: 'write',
      tag,
      summary: 'Say what was made of what, with quantities; the same pair again replaces its quantity',
      body: declareRelationshipsBody,
      responses: { 200: { description: 'All relationships of the item', schema: z.array(relationshipSchema) } },
      problems: ['not_found'],
      isIdempotent: true,
      isRepeatable: true,
      async handle(request) {
        const { relationship_type: type, direction, related } = request.body;
        const idOrDfid = request.parameters['dfid']!;
        return {
          status: 200,
          body: await relationships.declare(principalOf(request), { idOrDfid, type, direction, related }),
        };
      },
    }),
  ];
}

function readStrategy(sent: string): MergeStrategy {
  const strategy = mergeStrategies.find((each) => each === sent.toLowerCase());
  if (strategy) return strategy;
  const detail = `strategies are ${mergeStrategies.join(', ')}`;
  throw new Problem('unknown_strategy', detail, {
    errors: [{ pointer: '/strategy', code: 'unknown_strategy', detail }],
  });
}
