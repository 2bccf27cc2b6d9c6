import { scValToNative, xdr } from '@stellar/stellar-sdk/base';

/*
 * The contracts of the first generation, which held the content address of each item. Needs the SDK of Stellar: import it
 * where it is used.
 */

/** Longer than any address of a content. */
const cidCharactersMax = 200;

/** What an update event of an IPCM contract tells. */
export interface UpdateEvent {
  readonly dfid: string;
  readonly cid: string;
}

/**
 * Reads an event of an IPCM contract: topics `("update", key)`, data `(cid, timestamp, updated_by)`, all in base64 XDR.
 * @returns undefined for one of another kind.
 */
export function readUpdateEvent(topicXdr: readonly string[], valueXdr: string): UpdateEvent | undefined {
  try {
    const [name, dfid, ...rest] = topicXdr.map(nativeOf);
    const value = nativeOf(valueXdr);
    const cid: unknown = Array.isArray(value) ? value[0] : undefined;
    if (name !== 'update' || rest.length > 0 || typeof dfid !== 'string' || typeof cid !== 'string') return undefined;
    return cid.length > 0 && cid.length <= cidCharactersMax && /^[\x21-\x7e]+$/.test(cid) ? { dfid, cid } : undefined;
  } catch {
    return undefined;
  }
}

function nativeOf(valueXdr: string): unknown {
  return scValToNative(xdr.ScVal.fromXdr(valueXdr, 'base64'));
}
