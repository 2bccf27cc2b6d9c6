import { Problem } from '#platform/errors.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { z } from 'zod';
import type { GatewayFormat, IpfsGateway } from './ipfs-gateway.ts';
import { scopeSettingsBody, scopeSettingsSchema } from './scope-settings.ts';
import {
  migrateAnswer,
  migrateBody,
  primaryAnswer,
  primaryBody,
  storageHistoryQuery,
  storageHistorySchema,
  storageStatisticsSchema,
} from './storage.schema.ts';
import type { StorageService } from './storage.service.ts';

const tag = 'Storage';

const gatewayQuery = z.object({ format: z.enum(['raw', 'car']).optional() });
const mediaTypes: Readonly<Record<GatewayFormat, string>> = {
  raw: 'application/vnd.ipld.raw',
  car: 'application/vnd.ipld.car; version=1; order=dfs; dups=n',
  file: 'application/octet-stream',
};

/** What is stored of items, and what was stored by its address. */
export function storageRoutes(storage: StorageService, gateway: IpfsGateway): Route[] {
  return [...settingsRoutes(storage), ...historyRoutes(storage), gatewayRoute(gateway)];
}

function settingsRoutes(storage: StorageService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/storage/settings',
      access: 'read',
      tag,
      summary: 'What of the items of your workspace is stored where all can read it',
      responses: { 200: { description: 'The settings', schema: scopeSettingsSchema } },
      handle: async (request) => ({
        status: 200,
        body: await storage.readSettings(principalOf(request).workspaceId),
      }),
    }),
    defineRoute({
      method: 'put',
      path: '/api/storage/settings',
      access: 'write',
      tag,
      summary: 'Set what of the items of your workspace is stored from now on',
      body: scopeSettingsBody,
      responses: { 200: { description: 'The settings', schema: scopeSettingsSchema } },
      problems: ['invalid_request'],
      handle: async (request) => ({
        status: 200,
        body: await storage.writeSettings(principalOf(request).workspaceId, request.body),
      }),
    }),
    defineRoute({
      method: 'get',
      path: '/api/storage-history/statistics',
      access: 'read',
      tag,
      summary: 'How much of your workspace is stored where',
      responses: { 200: { description: 'Counts by adapter', schema: storageStatisticsSchema } },
      handle: async (request) => ({ status: 200, body: await storage.statistics(principalOf(request).workspaceId) }),
    }),
  ];
}

function historyRoutes(storage: StorageService): Route[] {
  const paths = ['/api/items/{dfid}/storage-history', '/api/storage-history/{dfid}'];
  return [
    ...paths.map((path) =>
      defineRoute({
        method: 'get',
        path,
        access: 'read',
        tag,
        summary: 'Where the contents of an item are stored, the newest first',
        query: storageHistoryQuery,
        responses: { 200: { description: 'A page of places', schema: storageHistorySchema } },
        problems: ['not_found'],
        handle: async (request) => ({
          status: 200,
          body: await storage.history(principalOf(request).workspaceId, request.parameters['dfid']!, request.query),
        }),
      }),
    ),
    defineRoute({
      method: 'post',
      path: '/api/storage-history/{dfid}/migrate',
      access: 'write',
      tag,
      summary: 'Store the contents of an item with another adapter as well',
      body: migrateBody,
      responses: { 200: { description: 'How many contents are on their way', schema: migrateAnswer } },
      problems: ['not_found', 'invalid_request'],
      isIdempotent: true,
      isRepeatable: true,
      handle: async (request) => ({
        status: 200,
        body: await storage.migrate(
          principalOf(request).workspaceId,
          request.parameters['dfid']!,
          request.body.target_adapter_type,
        ),
      }),
    }),
    defineRoute({
      method: 'post',
      path: '/api/storage-history/{dfid}/primary',
      access: 'write',
      tag,
      summary: 'Say where an item is to be looked for first',
      body: primaryBody,
      responses: { 200: { description: 'The place', schema: primaryAnswer } },
      problems: ['not_found', 'invalid_request'],
      isIdempotent: true,
      isRepeatable: true,
      handle: async (request) => ({
        status: 200,
        body: await storage.choosePrimary(
          principalOf(request).workspaceId,
          request.parameters['dfid']!,
          request.body.storage_location,
        ),
      }),
    }),
  ];
}

function gatewayRoute(gateway: IpfsGateway): Route {
  return defineRoute({
    method: 'get',
    path: '/ipfs/{address...}',
    access: 'public',
    tag,
    summary:
      'Stored content by its CID; `?format=raw` gives the block, `?format=car` all blocks, to be checked by whoever asks',
    query: gatewayQuery,
    responses: { 200: { description: 'The content', contentType: 'application/octet-stream' } },
    problems: ['not_found', 'overloaded'],
    async handle({ parameters, query, headers }) {
      const [address = '', ...path] = parameters['address']!.split('/');
      const format = query.format ?? acceptedFormat(headers.accept);
      const found = await gateway.find(address, path, format);
      if (!found) throw new Problem('not_found', 'nothing is stored here under this address');
      const etag = format === 'file' ? `"${found.root.toString()}"` : `"${found.root.toString()}.${format}"`;
      return {
        status: 200,
        headers: {
          'content-type': format === 'file' ? mediaTypeOf(found.bytes) : mediaTypes[format],
          'cache-control': 'public, max-age=29030400, immutable',
          etag,
          'x-ipfs-path': `/ipfs/${parameters['address']!}`,
          'content-disposition':
            format === 'file'
              ? 'inline'
              : `attachment; filename="${found.root.toString()}.${format === 'raw' ? 'bin' : 'car'}"`,
          'x-content-type-options': 'nosniff',
        },
        raw: found.bytes,
      };
    },
  });
}

/** Public contents are JSON objects, encrypted ones JWE in compact serialisation. */
function mediaTypeOf(bytes: Buffer): string {
  return bytes[0] === 0x7b ? 'application/json; charset=utf-8' : 'application/jose';
}

/** What `Accept` asks for, when the query does not (trustless gateway, 2.1). */
function acceptedFormat(accept: string | undefined): GatewayFormat {
  if (accept?.includes('application/vnd.ipld.raw')) return 'raw';
  if (accept?.includes('application/vnd.ipld.car')) return 'car';
  return 'file';
}
