import { Problem } from '#platform/errors.ts';
import { defineRoute, principalOf, type Route, type RouteResponse } from '#platform/route.ts';
import {
  anchorListSchema,
  consistencyQuery,
  consistencySchema,
  logKeysSchema,
  logStateSchema,
  proofBundleSchema,
  proofListQuery,
  proofListSchema,
  versionQuery,
} from './ledger.schema.ts';
import type { LedgerService } from './ledger.service.ts';
import { tileWidth } from './log-tiles.ts';
import { readTilePath } from './tile-path.ts';
import { makeVerifyPage } from './verify-page/verify-page.ts';

const tag = 'Log and proofs';
const text = 'text/plain; charset=utf-8';

/** The log as everybody may mirror it, and the proofs that a workspace may see. */
export function ledgerRoutes(ledger: LedgerService): Route[] {
  return [...logRoutes(ledger), ...proofRoutes(ledger), verifyPageRoute()];
}

/** The log in the format of C2SP tlog-tiles. */
function logRoutes(ledger: LedgerService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/log/checkpoint',
      access: 'public',
      tag,
      summary: 'The newest signed checkpoint of the log, a signed note (C2SP tlog-checkpoint)',
      responses: { 200: { description: 'The note', contentType: 'text/plain' } },
      problems: ['not_found'],
      async handle() {
        const note = await ledger.checkpoint();
        if (note === undefined) throw new Problem('not_found', 'no checkpoint is signed');
        return { status: 200, headers: { 'content-type': text, 'cache-control': 'no-cache' }, raw: note };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/log/key',
      access: 'public',
      tag,
      summary: 'The key that checks the signatures of the log, as signed notes have it (C2SP signed-note)',
      responses: { 200: { description: 'The verifier key', contentType: 'text/plain' } },
      problems: ['not_found'],
      async handle() {
        if (ledger.verifierKey === undefined) throw new Problem('not_found', 'this installation signs nothing');
        return { status: 200, headers: { 'content-type': text }, raw: `${ledger.verifierKey}\n` };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/log/keys',
      access: 'public',
      tag,
      summary: 'The keys that signed the log, each from some size on, and the statements by which they took over',
      responses: { 200: { description: 'The keys, the first one first', schema: logKeysSchema } },
      handle: async () => ({ status: 200, body: await ledger.keys() }),
    }),
    defineRoute({
      method: 'get',
      path: '/log/anchors',
      access: 'public',
      tag,
      summary: 'Checkpoints that are anchored on Stellar, the newest first',
      query: proofListQuery,
      responses: { 200: { description: 'A page of them', schema: anchorListSchema } },
      handle: async ({ query }) => ({ status: 200, body: await ledger.anchors(query) }),
    }),
    defineRoute({
      method: 'get',
      path: '/log/tile/{tile...}',
      access: 'public',
      tag,
      summary:
        'Hashes of the tree, `<level>/<number>`, or entries, `entries/<number>`; with `.p/<width>` as far as there are any (C2SP tlog-tiles)',
      responses: { 200: { description: 'The tile', contentType: 'application/octet-stream' } },
      problems: ['not_found'],
      async handle({ parameters }): Promise<RouteResponse> {
        const path = readTilePath(parameters['tile']!);
        const tile = path && (await ledger.tile(path));
        if (!tile) throw new Problem('not_found', 'the log has no such tile, or not as wide');
        // What is in a tile never changes; but one that is not full is asked for only for a while.
        const maxAgeSeconds = path.width === tileWidth ? 31_536_000 : 3600;
        return {
          status: 200,
          headers: {
            'content-type': 'application/octet-stream',
            'cache-control': `public, max-age=${maxAgeSeconds}, immutable`,
          },
          raw: tile,
        };
      },
    }),
  ];
}

function verifyPageRoute(): Route {
  const makePage = makeVerifyPage();
  return defineRoute({
    method: 'get',
    path: '/verify',
    access: 'public',
    tag,
    summary: 'A page that checks proof files in the browser, also without a network',
    responses: { 200: { description: 'The page, whole in one file', contentType: 'text/html' } },
    async handle() {
      const { html, contentSecurityPolicy } = await makePage();
      const headers = {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': contentSecurityPolicy,
        'cache-control': 'no-cache',
      };
      return { status: 200, headers, raw: html };
    },
  });
}

function proofRoutes(ledger: LedgerService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/log',
      access: 'read',
      tag,
      summary: 'How the log is: its size, what is signed, and whether it is anchored',
      responses: { 200: { description: 'The state', schema: logStateSchema } },
      handle: async () => ({ status: 200, body: await ledger.state() }),
    }),
    defineRoute({
      method: 'get',
      path: '/api/log/consistency',
      access: 'read',
      tag,
      summary: 'A proof that the log of one size is the beginning of that of another (RFC 9162, 2.1.4)',
      query: consistencyQuery,
      responses: { 200: { description: 'The proof', schema: consistencySchema } },
      problems: ['not_found'],
      handle: async ({ query: { from, to } }) => ({ status: 200, body: await ledger.consistency(from, to) }),
    }),
    defineRoute({
      method: 'get',
      path: '/api/proofs/{dfid}',
      access: 'read',
      tag,
      summary: 'Proofs of what your workspace was told of an item, the newest first',
      query: proofListQuery,
      responses: { 200: { description: 'A page of proofs', schema: proofListSchema } },
      problems: ['not_found'],
      async handle(request) {
        const { workspaceId } = principalOf(request);
        return { status: 200, body: await ledger.proveItem(workspaceId, request.parameters['dfid']!, request.query) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/proofs/events/{id}',
      access: 'read',
      tag,
      summary: 'The proof of one event',
      responses: { 200: { description: 'The proof', schema: proofBundleSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await ledger.proveEvent(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/{dfid}/proof',
      access: 'read',
      tag,
      summary: 'The proof of what an item is to your workspace, or was in a version of it, in one file',
      query: versionQuery,
      responses: { 200: { description: 'The proof', schema: proofBundleSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await ledger.proveVersion(
          principalOf(request).workspaceId,
          request.parameters['dfid']!,
          request.query.version,
        ),
      }),
    }),
  ];
}
