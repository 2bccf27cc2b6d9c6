import type { Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { decodeCursor, type Page } from '#platform/page.ts';
import type { StoredContributionState } from '../contribution-state.ts';
import { findOwnItem } from '../find-own-item.ts';
import { listFingerprintRules } from '../fingerprint-rules.store.ts';
import { dfidOf } from '../item-names.ts';
import { showIdentifiers } from '../version-content.ts';
import { countOtherContributors, findMembers } from '../items.store.ts';
import { gatherExplanation, showExplanation } from './explanation.ts';
import { changedFields, foldVersion } from './fold-version.ts';
import { findVersionedEntries, listVersionChanges, type VersionChangeRow } from './versions.store.ts';

/** What one answer reads of the past: an item that was sent very often has more. */
const historyMax = { rows: 10_000, bytes: 16_777_216 };
const changesShownMax = 100;

export type ItemHistory = ReturnType<typeof makeItemHistory>;

/** Tells one workspace why an item is what it is, and what it was, from its own entries and events. */
export function makeItemHistory({ database }: { database: Database }) {
  const { knex, pool } = database;

  return {
    /**
     * Why the entries of an item are one item; a merged one is explained as what it is part of.
     * @throws Problem not_found
     */
    async explain(workspaceId: string, idOrDfid: string) {
      const asked = await findOwnItem(knex, workspaceId, idOrDfid);
      const itemNumbers = await findMembers(knex, asked.merged_into ?? asked.item_number);
      const [rules, otherParticipants] = [
        await listFingerprintRules(knex),
        await countOtherContributors(knex, workspaceId, itemNumbers),
      ];
      const gathered = await gatherExplanation(pool, workspaceId, itemNumbers, historyMax);
      return showExplanation({ ...gathered, asked, rules, otherParticipants });
    },

    /** @throws Problem not_found, invalid_query */
    async listVersions(workspaceId: string, idOrDfid: string, page: { limit: number; cursor?: string | undefined }) {
      const position = decodeCursor(page.cursor, 'number');
      const item = await findOwnItem(knex, workspaceId, idOrDfid);
      const rows = await listVersionChanges(pool, workspaceId, item.item_number, {
        before: position === undefined ? null : Number(position),
        versions: page.limit,
        changes: changesShownMax,
      });
      const versions = showVersions(rows);
      const last = versions.at(-1)?.version ?? 1;
      const found: Page<ShownVersion> = {
        rows: versions,
        // Past the last page no row says how many there are.
        total: rows[0]?.total ?? item.version,
        nextPosition: last > 1 ? String(last) : undefined,
      };
      return { dfid: dfidOf(item), ...found };
    },

    /** @throws Problem not_found */
    async getVersion(workspaceId: string, idOrDfid: string, versionText: string) {
      const item = await findOwnItem(knex, workspaceId, idOrDfid);
      const number = /^[1-9]\d{0,9}$/.test(versionText) ? Number(versionText) : 0;
      const { item_number: itemNumber } = item;
      const [version] = showVersions(
        await listVersionChanges(pool, workspaceId, itemNumber, {
          before: number + 1,
          versions: 1,
          changes: changesShownMax,
        }),
      );
      if (version?.version !== number) throw new Problem('not_found', 'the item has no version with this number');
      const entries = await findVersionedEntries(pool, workspaceId, itemNumber, number, historyMax);
      const told = entries && foldVersion(entries, number);
      const state = number === item.version ? item.state : told;
      const before = entries && (number === 1 ? emptyState : foldVersion(entries, number - 1));
      return {
        dfid: dfidOf(item),
        ...version,
        ...(told && before ? { fields_changed: changedFields(before, told) } : {}),
        content: state ? showContent(state) : null,
        content_missing_because: state ? null : missingContent,
      };
    },
  };
}

const emptyState: StoredContributionState = { entries: [], identifiers: [], fields: {} };
const missingContent =
  'it cannot be told exactly: by then the item had been merged, divided or taken apart, has too many entries, or has entries of which it is not known whether they had come';

function showContent(state: StoredContributionState) {
  return {
    metadata: Object.fromEntries(Object.entries(state.fields).map(([name, [value]]) => [name, value])),
    identifiers: showIdentifiers(state),
  };
}

type ShownVersion = ReturnType<typeof showVersion>;

function showVersions(rows: readonly VersionChangeRow[]): ShownVersion[] {
  return [...Map.groupBy(rows, (row) => row.version).values()].map(showVersion);
}

function showVersion(rows: readonly VersionChangeRow[]) {
  const [first] = rows;
  const fields = new Set(rows.flatMap((row) => row.fields_changed ?? []));
  return {
    version: first!.version,
    created_at: first!.made_at.toISOString(),
    changes: rows.map((row) => ({
      event_type: row.event_type,
      ...(row.entry_id === null ? {} : { entry_id: row.entry_id }),
      ...(row.by === null ? {} : { by: row.by }),
      ...(row.reason === null ? {} : { reason: row.reason }),
    })),
    changes_total: first!.changes,
    ...(fields.size === 0 ? {} : { fields_changed: [...fields] }),
  };
}
