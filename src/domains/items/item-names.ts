import { formatDfid, parseDfid } from './dfid.ts';
import { itemNumberOfId } from './item-id.ts';
import type { DfidPartsRow } from './items.store.ts';

/** The number of an item by its id or DFID, whether it exists or not. */
export function itemNumberOf(idOrDfid: string): number | undefined {
  if (!idOrDfid.startsWith('DFID-')) return itemNumberOfId(idOrDfid);
  const reading = parseDfid(idOrDfid);
  if (!reading.valid || reading.generation !== 'current') return undefined;
  const sequence = Number(reading.components?.sequence);
  return Number.isSafeInteger(sequence) ? sequence : undefined;
}

/** The DFID of an item. */
export function dfidOf(row: Omit<DfidPartsRow, 'merged_into'>): string {
  return formatDfid({ valueChain: row.value_chain, country: row.country, year: row.year, sequence: row.item_number });
}
