import type { CID } from 'multiformats/cid';
import type { Dag } from '../content-address.ts';
import type { AdapterName } from '../scope-settings.ts';

/**
 * A place that keeps DAGs. All calls may be repeated, and each ends within a deadline of its own. What an adapter says is
 * not believed: the caller compares roots.
 */
export interface StorageAdapter {
  readonly name: AdapterName;
  /**
   * Keeps a DAG until it is removed.
   * @param name for people who look at the service.
   * @returns the root that the service found, and what it calls the DAG, if it does.
   * @throws StorageFault
   */
  store(dag: Dag, car: Buffer, name: string): Promise<{ root: string; reference: string | null }>;
  /** Whether the service has the DAG. @throws StorageFault */
  has(root: string, reference: string | null): Promise<boolean>;
  /**
   * Lets the service forget the DAG, if it has it.
   * @param orphans blocks of it that belong to nothing else.
   * @throws StorageFault
   */
  remove(root: string, reference: string | null, orphans: readonly CID[]): Promise<void>;
}

/** A call of an adapter that did not succeed. */
export class StorageFault extends Error {
  /** True when trying again changes nothing: somebody has to mend something first. */
  readonly isFinal: boolean;
  /** When the service wants to be asked again, in milliseconds; undefined when it does not say. */
  readonly retryAfterMs: number | undefined;
  /** The status that the service answered with, if it answered. */
  readonly status: number | undefined;

  constructor(
    message: string,
    options: { isFinal?: boolean; retryAfterMs?: number | undefined; status?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'StorageFault';
    this.isFinal = options.isFinal ?? false;
    this.retryAfterMs = options.retryAfterMs;
    this.status = options.status;
  }
}
