import type { Database } from '#platform/database.ts';
import type { EntryRow, ItemsService } from '#domains/items/index.ts';
import { readBodyRange, type ReceiptRow } from './receipts.store.ts';

const columns = [
  'position',
  'line',
  'status',
  'outcome',
  'dfid',
  'error_code',
  'error_detail',
  'error_pointer',
  'record',
];
const rangeBytesMax = 4_194_304;

/** Pages of entries as CSV (RFC 4180), each with the text that was sent for it. */
export async function* makeEntriesCsv(
  database: Database,
  items: ItemsService,
  receipt: ReceiptRow,
  pages: AsyncIterable<EntryRow[]>,
): AsyncGenerator<string> {
  // A byte-order mark inside a record is one of its characters.
  const decoder = new TextDecoder(receipt.charset, { ignoreBOM: true });
  const decode = (bytes: Buffer) => decoder.decode(bytes);
  yield `${columns.join(',')}\r\n`;
  for await (const page of pages) {
    const texts = receipt.body_erased_at
      ? page.map(() => '')
      : await readTexts(database, receipt.receipt_id, page, decode);
    const shown = await items.describeEntries(page);
    yield shown
      .map(({ position, line, status, outcome, dfid, error }, at) =>
        [position, line, status, outcome, dfid, error?.code, error?.detail, error?.pointer, texts[at]]
          .map(csvCell)
          .join(','),
      )
      .map((row) => `${row}\r\n`)
      .join('');
  }
}

/** What was sent for each entry: one read where they stand close together, else one each. */
async function readTexts(
  { pool }: Database,
  receiptId: string,
  page: readonly EntryRow[],
  decode: (bytes: Buffer) => string,
): Promise<string[]> {
  const start = Math.min(...page.map((entry) => entry.byte_start));
  const end = Math.max(...page.map((entry) => entry.byte_start + entry.byte_length));
  if (end - start <= rangeBytesMax) {
    const bytes = await readBodyRange(pool, receiptId, start, end);
    return page.map((entry) =>
      decode(bytes.subarray(entry.byte_start - start, entry.byte_start - start + entry.byte_length)),
    );
  }
  const texts: string[] = [];
  for (const entry of page)
    texts.push(decode(await readBodyRange(pool, receiptId, entry.byte_start, entry.byte_start + entry.byte_length)));
  return texts;
}

/** A cell as RFC 4180 wants it; a semicolon is quoted too, for the spreadsheets that take it for the delimiter. */
function csvCell(value: string | number | null | undefined): string {
  const text = String(value ?? '');
  return /[",\r\n;]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
