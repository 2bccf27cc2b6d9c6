import type { Database } from '#platform/database.ts';
import type { EntryRow, ItemsService } from '#domains/items/index.ts';
import { reservedColumns, type CsvLayout } from './csv-records.ts';
import { parseCsvRecords } from './formats/csv-values.ts';
import { readBodyRange, type ReceiptRow } from './receipts.store.ts';

const rangeBytesMax = 4_194_304;

/**
 * Pages of entries as CSV (RFC 4180), ready to mend and send again. For a CSV receipt the cells stand in their own columns
 * and what became of the line in columns that an import leaves out; a line that has no cells stands as it is in the last
 * one. For JSON the last column holds the record.
 */
export async function* makeEntriesCsv(
  database: Database,
  items: ItemsService,
  receipt: ReceiptRow,
  pages: AsyncIterable<EntryRow[]>,
): AsyncGenerator<string> {
  // A byte-order mark inside a record is one of its characters.
  const decoder = new TextDecoder(receipt.charset, { ignoreBOM: true });
  const decode = (bytes: Buffer) => decoder.decode(bytes);
  const layout = receipt.csv_layout;
  const names = layout ? reservedColumns : reservedColumns.map((name) => name.slice(1));
  yield csvRow([...(layout?.columns ?? []), ...names]);
  for await (const page of pages) {
    const texts = receipt.body_erased_at
      ? page.map(() => '')
      : await readTexts(database, receipt.receipt_id, page, decode);
    const shown = await items.describeEntries(page);
    yield shown
      .map(({ position, line, status, outcome, dfid, error }, at) => {
        const cells = layout && readCells(texts[at]!, layout, error?.code);
        const told = [position, line, status, outcome, dfid, error?.code, error?.detail, error?.pointer];
        return csvRow([...(cells ?? layout?.columns.map(() => '') ?? []), ...told, cells ? '' : texts[at]]);
      })
      .join('');
  }
}

/** The cells of a line as they were sent; undefined when it does not fall into the columns of the header. */
function readCells(text: string, { delimiter, columns }: CsvLayout, code: string | undefined): string[] | undefined {
  if (text === '' || code === 'csv_stray_quote' || code === 'csv_unterminated_quote') return undefined;
  const [cells] = parseCsvRecords([text], delimiter);
  return cells?.length === columns.length ? cells : undefined;
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

function csvRow(values: readonly (string | number | null | undefined)[]): string {
  return `${values.map(csvCell).join(',')}\r\n`;
}

/** A cell as RFC 4180 wants it; a semicolon is quoted too, for the spreadsheets that take it for the delimiter. */
function csvCell(value: string | number | null | undefined): string {
  const text = String(value ?? '');
  return /[",\r\n;]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
