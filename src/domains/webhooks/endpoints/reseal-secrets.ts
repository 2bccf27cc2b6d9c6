import type pg from 'pg';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import { sealHeaders } from './endpoint-headers.ts';
import { findOpenHeaders, findSealedOtherwise, writeSealedHeaders, writeSealedSecret } from './endpoints.store.ts';

const endpointsAtOnce = 500;

/**
 * Seals the secrets of endpoints anew that another key sealed, and those of headers that were kept open; what cannot be opened any
 * more stays as it is.
 */
export async function resealSecrets(pool: pg.Pool, keys: KeyEncryption): Promise<void> {
  let after = '00000000-0000-0000-0000-000000000000';
  for (;;) {
    const secrets = await findSealedOtherwise(pool, keys.keyId, { after, limit: endpointsAtOnce });
    if (secrets.length === 0) break;
    for (const secret of secrets) {
      const opened = keys.open(secret);
      if (opened) await writeSealedSecret(pool, secret, keys.seal(opened));
    }
    after = secrets.at(-1)!.endpointId;
  }
  for (;;) {
    const endpoints = await findOpenHeaders(pool, endpointsAtOnce);
    if (endpoints.length === 0) return;
    for (const endpoint of endpoints) {
      const headers = JSON.parse(endpoint.headers) as Record<string, string>;
      await writeSealedHeaders(
        pool,
        endpoint,
        sealHeaders(headers, (bytes) => keys.seal(bytes)),
      );
    }
  }
}
