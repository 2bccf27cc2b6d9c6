import type { Queryable } from '#platform/database.ts';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import { openHeaderCredentials } from '../sending/webhook-headers.ts';
import { sealHeaders } from './endpoint-headers.ts';
import { findSealedOtherwise, findUnsealedHeaders, writeSealedHeaders, writeSealedSecrets } from './endpoints.store.ts';

const noEndpoint = '00000000-0000-0000-0000-000000000000';

/**
 * Seals secrets of at least so many endpoints anew that another key sealed, as far as there are any; what cannot be opened stays as
 * it is.
 * @returns of how many endpoints.
 */
export async function resealSecrets(queryable: Queryable, keys: KeyEncryption, endpointsMax: number): Promise<number> {
  const resealed = new Set<string>();
  let after = noEndpoint;
  while (resealed.size < endpointsMax) {
    const found = await findSealedOtherwise(queryable, keys.keyId, { after, limit: endpointsMax });
    const last = found.at(-1);
    if (!last) break;
    const secrets = found.flatMap((before) => {
      const opened = keys.open(before);
      return opened ? [{ before, now: keys.seal(opened) }] : [];
    });
    await writeSealedSecrets(queryable, secrets);
    for (const { before } of secrets) resealed.add(before.endpointId);
    after = last.endpointId;
  }
  return resealed.size;
}

/**
 * Seals credentials in headers of at least so many endpoints that were kept open, as far as there are any.
 * @returns of how many endpoints.
 */
export async function sealOpenHeaders(
  queryable: Queryable,
  keys: KeyEncryption,
  endpointsMax: number,
): Promise<number> {
  let sealed = 0;
  let after = noEndpoint;
  while (sealed < endpointsMax) {
    const found = await findUnsealedHeaders(queryable, { after, limit: endpointsMax });
    const last = found.at(-1);
    if (!last) break;
    const endpoints = found.flatMap((before) => {
      const credentials = openHeaderCredentials(before, keys);
      if (!credentials) return [];
      return [{ before, now: sealHeaders({ ...before.headers, ...credentials }, (bytes) => keys.seal(bytes)) }];
    });
    await writeSealedHeaders(queryable, endpoints);
    sealed += endpoints.length;
    after = last.endpoint_id;
  }
  return sealed;
}
