import type { ValueChain } from '../value-chain.ts';
import type { MergeStrategy } from './refold-contents.ts';
import type { EvidenceEntryRow } from './refold.store.ts';

/** Who decides, and why. */
export interface Decision {
  readonly workspaceId: string;
  /** The credential that decided. */
  readonly by: string;
  readonly reason: string | null;
}

export interface RefoldContext {
  readonly decision: Decision;
  readonly nowMicros: number;
  /** Claim types of which an item has at most one value at a time. */
  readonly singleClaimTypes: ReadonlySet<string>;
  takeNumbers(count: number): Promise<number[]>;
}

/** What the DFID of a new item is made of beside its number. */
export interface ItemNature {
  readonly valueChain: ValueChain;
  readonly country: string;
  readonly year: number;
}

/** What a person wants to be believed from now on about items that are not merged into others. */
export interface RefoldRequest {
  /** Items that exist; where several become one, the first of them stays. */
  readonly roots: readonly number[];
  /** An item to take out of the one that it became. */
  readonly unmerged?: number;
  /** Items to make part of the first root, and how their values join. */
  readonly united?: { readonly losers: readonly number[]; readonly strategy: MergeStrategy };
  /** Entries that shall not count any longer. */
  readonly withdrawn?: readonly string[];
  /** Waiting entries, and the item that each shall belong to, which may be new. */
  readonly placed?: ReadonlyMap<string, number>;
  /** The case that decides that they stay there whatever they name; else they go with what they name when that goes. */
  readonly placedBy?: string;
  /** Keys that the caller claimed for the placed entries. */
  readonly claimed?: ReadonlySet<string>;
  /** Keys that leave the first root for a new item. */
  readonly leaving?: { readonly keys: ReadonlySet<string>; readonly itemNumber: number; readonly nature: ItemNature };
  /** Items to keep apart from now on. */
  readonly separated?: readonly (readonly [number, number])[];
}

/** An entry whose counted state changed after its chunk was worked. */
export interface RecountedEntry {
  readonly entryId: string;
  readonly from: Pick<EvidenceEntryRow, 'status' | 'outcome'>;
  readonly to: Pick<EvidenceEntryRow, 'status' | 'outcome'>;
}

/** An entry that a person settled otherwise. */
export interface ResettledEntry extends RecountedEntry {
  readonly workspaceId: string;
  /** The item that it is part of now, if it is. */
  readonly itemNumber: number | null;
}

/** An entry that waits now, and what it ties together. */
export interface ContestedEntry {
  readonly entryId: string;
  readonly workspaceId: string;
  readonly keys: readonly string[];
  readonly itemNumbers: readonly number[];
}

/** What a refold changed. */
export interface Refolded {
  /** Items that were not there before. */
  readonly created: readonly number[];
  readonly conflicted: readonly ContestedEntry[];
  /** True when another set of items is one than before, or new ones exist. */
  readonly isRepartitioned: boolean;
  readonly resettled: readonly ResettledEntry[];
  /** What each item is now; itself when it is not merged. */
  readonly currentOf: ReadonlyMap<number, number>;
  /** The workspaces that contribute to each item that is not merged. */
  readonly participantsOf: ReadonlyMap<number, readonly string[]>;
}
