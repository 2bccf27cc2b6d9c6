/**
 * Types of events by which the system tells what became of an item. Such an event of the system has no key; clients may use
 * the same words, so one that they send always has one (`judgeEvents`).
 */
export const systemEventTypes: ReadonlySet<string> = new Set([
  'item_created',
  'item_enriched',
  'item_updated',
  'item_merged',
  'item_unmerged',
  'item_split',
  'item_status_changed',
  'item_archived',
  'entry_withdrawn',
]);
