import { contentOfContribution, formatDfid, type VersionContent } from '#domains/items/index.ts';
import type { ContentAddresses, ContentMaker } from '#domains/storage/index.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { parseJson } from '#platform/json/parse-json.ts';
import { commitmentTo, disclose, type EntryFields, type EntrySeed } from './entry-commitment.ts';
import type { LoggedVersionRow } from './log.store.ts';

/** What the log commits to of a version. */
export interface LoggedContent extends VersionContent {
  /** Where what is stored of it outside can be had. */
  readonly stored?: ContentAddresses;
}

/** What the log commits to of an item, from the columns `status` and `state` of a contribution, and its canonical text. */
export async function loggedContent(
  row: Omit<LoggedVersionRow, 'content'>,
  status: string,
  state: string,
  contents: ContentMaker,
): Promise<{ content: LoggedContent; text: string }> {
  const read = readContent(status, state);
  const { workspace_id: workspaceId, item_number: itemNumber, version } = row;
  const stored = await contents.make({ workspaceId, itemNumber, version, dfid: dfidOfRow(row), content: read.content });
  if (!stored) return read;
  const content = { ...read.content, stored };
  return { content, text: canonicalJson(content) };
}

function readContent(status: string, state: string): { content: VersionContent; text: string } {
  try {
    const content = contentOfContribution(status, state);
    return { content, text: canonicalJson(content) };
  } catch {
    // A state without a canonical form, which nothing lets in, must not stop the log: its text stands for it then.
    const content = { identifiers: [], metadata: { state }, status };
    return { content, text: canonicalJson(content) };
  }
}

/** The commitment to a version, the same whenever it is read. */
export function commitToVersion(
  row: Omit<LoggedVersionRow, 'content'>,
  content: LoggedContent,
  seed: EntrySeed,
): Buffer {
  return commitmentTo(fieldsOfVersion(row, content), seed);
}

/** All that shows what was committed to of a version. */
export function discloseVersion(
  row: LoggedVersionRow,
  seed: EntrySeed,
  isShown?: (field: string) => boolean,
): ReturnType<typeof disclose> {
  return disclose(fieldsOfVersion(row, parseJson(row.content) as LoggedContent), seed, isShown);
}

/**
 * Each field and each identifier of the item is one of the entry, so that one can be shown without the others. They are
 * numbered, since who is shown some of them sees the names of all.
 */
function fieldsOfVersion(
  row: Omit<LoggedVersionRow, 'content'>,
  { identifiers, metadata, status, stored }: LoggedContent,
): EntryFields {
  return Object.fromEntries([
    ...Object.entries(stored ?? {}),
    ['dfid', dfidOfRow(row)],
    ['kind', 'version'],
    ['participant', row.workspace_id],
    ['recorded_at', row.recorded_at],
    ['status', status],
    ['version', row.version],
    ...identifiers.map((identifier, at): [string, unknown] => [`identifiers.${at}`, identifier]),
    ...Object.entries(metadata)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value], at): [string, unknown] => [`metadata.${at}`, { name, value }]),
  ]);
}

/** The DFID of the item that a logged row is about. */
export function dfidOfRow(row: Pick<LoggedVersionRow, 'value_chain' | 'country' | 'year' | 'item_number'>): string {
  return formatDfid({
    valueChain: row.value_chain,
    country: row.country,
    year: row.year,
    sequence: row.item_number,
  });
}
