/** The queue of the naive pipeline. */
export const naiveRecordQueue = 'bench-naive-records';

/** Jobs that the naive worker does at the same time, each on a connection of its own. */
export const naiveConcurrency = 16;

/** A whole record as the payload of a job. */
export interface NaiveJob {
  readonly position: number;
  readonly record: {
    readonly identifiers: readonly { readonly identifier_type: string; readonly value: string }[];
    readonly value_chain: string;
    readonly country: string;
    readonly year: number;
    readonly metadata: Readonly<Record<string, unknown>>;
  };
}
