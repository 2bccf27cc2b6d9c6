import { entryIdAt, makeReceiptId } from '#platform/ids.ts';
import { judgeRecord, readJsonRecord, type IncomingRecord, type TypeRegistry } from '#domains/items/index.ts';
import { ndjsonRecordBytes, taggedRecordText, weightOf } from './cattle-records.ts';
import { receiptRecords } from './sizes.ts';

/** A record that the resolver gets. */
export interface PlannedVisit {
  readonly animal: number;
  /** Kilograms as text. */
  readonly weight: string;
  readonly isKnown: boolean;
}

/** Records in the order in which they are resolved, with what they must become. */
export interface VisitPlan {
  readonly visits: readonly PlannedVisit[];
  readonly created: number;
  readonly enriched: number;
  readonly duplicate: number;
  /** The weight that each animal has in the end. */
  readonly finalWeights: ReadonlyMap<number, string>;
}

/** Shares no factor with numbers of animals, which are powers of two and five. */
const stride = 1_597_334_677;

/**
 * Plans records of which `knownPercent` in a hundred, evenly spread, are about animals that are stored. These are visited
 * round and round in one scattered order, so that transactions in flight meet the same animal only if the stored ones are
 * fewer than what is in flight. Every second one is weighed anew each time, the others repeat their first record.
 * @param stored animals 0 to `stored` - 1 are known before; new ones follow.
 */
export function planVisits(options: { count: number; stored: number; knownPercent: number }): VisitPlan {
  const { count, stored, knownPercent } = options;
  const visits: PlannedVisit[] = [];
  const finalWeights = new Map<number, string>();
  let knownVisits = 0;
  let enriched = 0;
  for (let at = 0; at < count; at += 1) {
    const isKnown = (at * knownPercent) % 100 < knownPercent;
    const place = knownVisits % stored;
    const animal = isKnown ? (place * stride) % stored : stored + at - knownVisits;
    const isWeighed = isKnown && place % 2 === 0;
    const weight = isWeighed ? weightAtRound(animal, Math.floor(knownVisits / stored)) : weightOf(animal, false);
    if (isKnown) knownVisits += 1;
    if (isWeighed) enriched += 1;
    visits.push({ animal, weight, isKnown });
    finalWeights.set(animal, weight);
  }
  return { visits, created: count - knownVisits, enriched, duplicate: knownVisits - enriched, finalWeights };
}

/** Kilograms as text, other than in the round before and than what the first record says. */
function weightAtRound(animal: number, round: number): string {
  return `${300 + ((animal + 40 * (round + 1)) % 600)}.5`;
}

/** What the records of a plan are made with. */
export interface RecordMaking {
  readonly workspaceId: string;
  readonly types: TypeRegistry;
  /** The receipts that are in the database already. */
  readonly receiptsBefore: number;
  readonly receivedAtMicros: number;
}

/** The records of visits as reception hands them to the resolver: read, judged, and with their places in receipts. */
export function makeIncomingRecords(visits: readonly PlannedVisit[], making: RecordMaking): IncomingRecord[] {
  const { workspaceId, types, receiptsBefore, receivedAtMicros } = making;
  const context = {
    workspaceId,
    defaults: { valueChain: null, country: null, year: null },
    types,
    nowMicros: receivedAtMicros,
  };
  let receiptId = '';
  return visits.map(({ animal, weight }, at) => {
    const position = at % receiptRecords;
    if (position === 0) receiptId = makeReceiptId();
    const receipt = Math.floor(at / receiptRecords);
    const submitted = readJsonRecord(JSON.parse(taggedRecordText(animal, weight)));
    return {
      entryId: entryIdAt(receiptId, position),
      receivedSequence: receiptsBefore + 1 + receipt,
      receivedAtMicros: receivedAtMicros + receipt,
      line: position + 1,
      byteStart: position * (ndjsonRecordBytes + 1),
      byteLength: ndjsonRecordBytes,
      judgement: submitted.ok ? judgeRecord(submitted.value, context) : submitted,
    };
  });
}
