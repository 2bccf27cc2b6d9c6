import type pg from 'pg';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import { findSealedOtherwise, writeSealedSecrets, type SealedSecrets } from './endpoints.store.ts';

const endpointsAtOnce = 500;

/** Seals the secrets of endpoints anew that another key sealed; what cannot be opened any more stays as it is. */
export async function resealSecrets(pool: pg.Pool, keys: KeyEncryption): Promise<void> {
  let after = '00000000-0000-0000-0000-000000000000';
  for (;;) {
    const endpoints = await findSealedOtherwise(pool, keys.keyId, { after, limit: endpointsAtOnce });
    for (const endpoint of endpoints) await writeSealedSecrets(pool, endpoint, resealed(endpoint, keys));
    if (endpoints.length < endpointsAtOnce) return;
    after = endpoints.at(-1)!.endpoint_id;
  }
}

function resealed(endpoint: SealedSecrets, keys: KeyEncryption): SealedSecrets {
  const again = (bytes: Buffer, keyId: string) => {
    const opened = keys.open({ bytes, keyId });
    return opened ? keys.seal(opened) : { bytes, keyId };
  };
  const where = (bytes: Buffer | null, keyId: string | null) => (bytes && keyId !== null ? again(bytes, keyId) : null);
  const secret = again(endpoint.secret_sealed, endpoint.secret_key_id);
  const previous = where(endpoint.previous_secret_sealed, endpoint.previous_secret_key_id);
  const auth = where(endpoint.auth_sealed, endpoint.auth_key_id);
  const privateKey = where(endpoint.private_key_sealed, endpoint.private_key_id);
  const previousKey = where(endpoint.previous_private_key_sealed, endpoint.previous_private_key_id);
  return {
    endpoint_id: endpoint.endpoint_id,
    secret_sealed: secret.bytes,
    secret_key_id: secret.keyId,
    previous_secret_sealed: previous?.bytes ?? null,
    previous_secret_key_id: previous?.keyId ?? null,
    auth_sealed: auth?.bytes ?? null,
    auth_key_id: auth?.keyId ?? null,
    private_key_sealed: privateKey?.bytes ?? null,
    private_key_id: privateKey?.keyId ?? null,
    previous_private_key_sealed: previousKey?.bytes ?? null,
    previous_private_key_id: previousKey?.keyId ?? null,
  };
}
