/** How much each section does. */
export interface Sizes {
  readonly http: { readonly seconds: number; readonly warmUpSeconds: number; readonly connections: number };
  readonly pipeline: { readonly records: number; readonly naiveRecords: number };
  readonly flatness: {
    readonly records: number;
    /** Worked before the measured records, so that both databases meet a process that is warm. */
    readonly warmUpRecords: number;
    readonly fewIdentifiers: number;
    readonly manyIdentifiers: number;
  };
  readonly memory: { readonly clients: number; readonly rounds: number; readonly bodyBytes: number };
  readonly rest: { readonly samples: number; readonly warmUpSamples: number };
  readonly resolver: {
    readonly records: number;
    readonly warmUpRecords: number;
    /** Stored before, from few to many. */
    readonly identifiers: readonly number[];
  };
  readonly log: {
    readonly entries: number;
    readonly proofs: number;
    /** Entries before, from few to many. */
    readonly sizes: readonly number[];
  };
  readonly storage: { readonly contents: number };
  readonly webhooks: {
    /** Each to 100 endpoints. */
    readonly messages: number;
    /** Deliveries that wait for another attempt. */
    readonly waiting: number;
    /** Endpoints that one event is told to. */
    readonly fannedOut: number;
  };
}

/** Records in one NDJSON receipt. */
export const receiptRecords = 10_000;

/** The sizes that the targets speak of. */
export const fullSizes: Sizes = {
  http: { seconds: 5, warmUpSeconds: 5, connections: 64 },
  pipeline: { records: 200_000, naiveRecords: 2000 },
  flatness: { records: 50_000, warmUpRecords: 5000, fewIdentifiers: 20_000, manyIdentifiers: 2_000_000 },
  memory: { clients: 64, rounds: 5, bodyBytes: 16_777_216 },
  rest: { samples: 300, warmUpSamples: 20 },
  resolver: { records: 50_000, warmUpRecords: 5000, identifiers: [10_000, 1_000_000, 5_000_000] },
  log: { entries: 100_000, proofs: 5000, sizes: [1000, 1_000_000] },
  storage: { contents: 20_000 },
  webhooks: { messages: 600, waiting: 1_000_000, fannedOut: 10_000 },
};

/** Enough to see that everything works; too little for figures that mean something. */
export const quickSizes: Sizes = {
  http: { seconds: 1, warmUpSeconds: 0.5, connections: 64 },
  pipeline: { records: 20_000, naiveRecords: 200 },
  flatness: { records: 10_000, warmUpRecords: 1250, fewIdentifiers: 20_000, manyIdentifiers: 200_000 },
  memory: { clients: 64, rounds: 1, bodyBytes: 16_777_216 },
  rest: { samples: 30, warmUpSamples: 5 },
  resolver: { records: 10_000, warmUpRecords: 5000, identifiers: [10_000, 40_000, 100_000] },
  log: { entries: 10_000, proofs: 500, sizes: [1000, 20_000] },
  storage: { contents: 2000 },
  webhooks: { messages: 50, waiting: 20_000, fannedOut: 500 },
};
