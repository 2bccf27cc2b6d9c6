import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import {
  createTreeBody,
  generateProofBody,
  merkleProofSchema,
  merkleTreeListQuery,
  merkleTreeListSchema,
  merkleTreeSchema,
  verificationListQuery,
  verificationListSchema,
  verificationSchema,
  verifyProofBody,
} from './merkle-trees.schema.ts';
import type { MerkleTreesService } from './merkle-trees.service.ts';

const tag = 'Merkle trees';
const path = '/api/merkle-trees';

/** Trees that a workspace makes over data of its own. */
export function merkleTreeRoutes(trees: MerkleTreesService): Route[] {
  return [...treeRoutes(trees), ...verificationRoutes(trees)];
}

function treeRoutes(trees: MerkleTreesService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path,
      access: 'read',
      tag,
      summary: 'The trees of your workspace, newest first',
      query: merkleTreeListQuery,
      responses: { 200: { description: 'A page of trees', schema: merkleTreeListSchema } },
      async handle(request) {
        const { limit, offset, cursor, ...filter } = request.query;
        const found = await trees.list(
          { workspaceId: principalOf(request).workspaceId, ...filter },
          { limit, offset, cursor },
        );
        return { status: 200, body: listBody('trees', found, (tree) => tree) };
      },
    }),
    defineRoute({
      method: 'post',
      path,
      access: 'write',
      tag,
      summary: 'Make a tree over data (RFC 9162); only the hashes of its leaves are kept',
      body: createTreeBody,
      responses: { 201: { description: 'The tree', schema: merkleTreeSchema } },
      problems: ['invalid_request'],
      isIdempotent: true,
      isRepeatable: true,
      async handle(request) {
        const tree = await trees.create(principalOf(request).workspaceId, request.body);
        return { status: 201, headers: { location: `${path}/${tree.id}` }, body: tree };
      },
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}`,
      access: 'read',
      tag,
      summary: 'One tree',
      responses: { 200: { description: 'The tree', schema: merkleTreeSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await trees.get(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/{id}`,
      access: 'write',
      tag,
      summary: 'Delete a tree; proofs of it cannot be checked here any more',
      responses: { 204: { description: 'It is gone' } },
      problems: ['not_found'],
      async handle(request) {
        await trees.remove(principalOf(request).workspaceId, request.parameters['id']!);
        return { status: 204 };
      },
    }),
  ];
}

function verificationRoutes(trees: MerkleTreesService): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: `${path}/{id}/generate-proof`,
      access: 'write',
      tag,
      summary: 'The proof that data is a leaf of a tree',
      body: generateProofBody,
      responses: { 201: { description: 'The proof', schema: merkleProofSchema } },
      problems: ['not_found', 'invalid_request'],
      isIdempotent: true,
      isRepeatable: true,
      handle: async (request) => ({
        status: 201,
        body: await trees.prove(principalOf(request).workspaceId, request.parameters['id']!, request.body.leaf_data),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/verify`,
      access: 'write',
      tag,
      summary: 'Compute the root of a tree again from its leaves',
      responses: { 200: { description: 'What was found', schema: verificationSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await trees.verifyTree(principalOf(request), request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/verify-proof`,
      access: 'write',
      tag,
      summary: 'Whether a path leads from a leaf to the root of a tree',
      body: verifyProofBody,
      responses: { 200: { description: 'What was found', schema: verificationSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await trees.verifyProof(principalOf(request), request.parameters['id']!, request.body),
      }),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}/verifications`,
      access: 'read',
      tag,
      summary: 'What was found of a tree and its proofs, newest first',
      query: verificationListQuery,
      responses: { 200: { description: 'The last of them', schema: verificationListSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await trees.verifications(
          principalOf(request).workspaceId,
          request.parameters['id']!,
          request.query.limit,
        ),
      }),
    }),
  ];
}
