import type pg from 'pg';
import { ItemRows, type Verdict } from './item-rows.ts';
import type { NewClaim } from './deduplication.store.ts';
import { PendingWrites } from './pending-writes.ts';
import type { TypeRegistry } from './type-registry.ts';

export interface AbsorbContext {
  readonly workspaceId: string;
  readonly mayLinkItems: boolean;
  readonly types: TypeRegistry;
  /** Hands out numbers that no other item has or had. */
  takeNumbers(count: number): Promise<number[]>;
}

/** An item moved between the look at it and its lock; another try finds it at rest. */
export class ContentionError extends Error {
  constructor() {
    super('another transaction changed an item before it was locked');
    this.name = 'ContentionError';
  }
}

/** One try at a set of records, between a savepoint and its release or roll-back. */
export class Absorption {
  readonly client: pg.ClientBase;
  readonly context: AbsorbContext;
  readonly verdicts: Verdict[];
  readonly writes = new PendingWrites();
  /** Which item owns each claim of the records, as far as committed when they were looked up. */
  readonly owners = new Map<string, number>();
  /** Claims that this transaction took, as they stand in the database now. */
  readonly held = new Map<string, NewClaim>();

  constructor(client: pg.ClientBase, context: AbsorbContext, verdicts: Verdict[]) {
    this.client = client;
    this.context = context;
    this.verdicts = verdicts;
  }

  startRows(): ItemRows {
    return new ItemRows(this.context.workspaceId, this.verdicts);
  }

  get planOptions() {
    return { singleClaimTypes: this.context.types.singleClaimTypes, mayLinkItems: this.context.mayLinkItems };
  }
}
