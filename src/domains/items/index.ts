export { absorbRecords, type Absorbed } from './absorb-records.ts';
export { ContentionError, type AbsorbContext } from './absorption.ts';
export { makeCaseRetries } from './conflicts/case-retries.ts';
export type { IncomingRecord, Verdict } from './item-rows.ts';
export type { EntryStatus } from './deduplication.store.ts';
export { changeOf, changeProblems, ifMatchHeader, itemAnswer, itemRoutes } from './items.routes.ts';
export { makeItemChanges } from './item-changes.service.ts';
export { editItem, readEditedFields } from './edit-item.ts';
export { itemIdOf } from './item-id.ts';
export { holdItemState, type HeldItemState } from './hold-item-state.ts';
export { itemNumberOf } from './item-names.ts';
export { formatDfid } from './dfid.ts';
export { ignoredMembers, itemDetailsSchema, itemSchema, jsonObject, updateItemBody } from './items.schema.ts';
export { eventRoutes } from './item-events.routes.ts';
export { dfidRoutes } from './dfid.routes.ts';
export { canonicalIdentifierRoutes } from './canonical-identifiers.routes.ts';
export { makeCanonicalIdentifiersService } from './canonical-identifiers.service.ts';
export { fingerprintRuleRoutes } from './fingerprint-rules.routes.ts';
export { makeFingerprintRulesService } from './fingerprint-rules.service.ts';
export { makeItemsService, type ItemsService } from './items.service.ts';
export {
  findEntry,
  listMergesOfEntries,
  readAllEntries,
  listEntries,
  readEntries,
  type EntryRow,
  type ShownEntry,
} from './entries.store.ts';
export { itemMessageTypes, recordedEventData, tellerOf, thinEventData } from './item-message-types.ts';
export { foldName } from './fold-name.ts';
export { isCountryCode } from './country.ts';
export { eventTypePattern, judgeNature, judgeRecord, type JudgedRecord, type JudgingContext } from './judge-record.ts';
export { makeItemNumberSource } from './item-numbers.ts';
export { makeTypeRegistry, makeTypeRegistryLoader, type TypeRegistry } from './type-registry.ts';
export { parseValueChain, type ValueChain } from './value-chain.ts';
export {
  readJsonRecord,
  refuse,
  type Judgement,
  type SubmittedIdentifier,
  type SubmittedRecord,
} from './submitted-record.ts';
export type { RecountedEntry } from './refold/refold-request.ts';
export { contentOfContribution, type VersionContent } from './version-content.ts';
export { holdsPartyNumber } from './party-numbers.ts';
export { lockMerging } from './deduplication.store.ts';
export { normaliseIdentifier } from './identifier-normalisers.ts';
export type { StoredContributionState } from './contribution-state.ts';
export type { StoredRecord } from './stored-record.ts';
export { untilFree } from './until-free.ts';
export { makeLocalItemsService } from './local/local-items.service.ts';
export { makeLocalItemMergesService } from './local/local-item-merges.service.ts';
export { localItemRoutes } from './local/local-items.routes.ts';
export { itemActRoutes } from './acts/item-acts.routes.ts';
export { answerSplit, makeItemActs, type ItemActs } from './acts/item-acts.service.ts';
export { namedIdentifier, quantityMembers, quantityRule, splitItemAnswer } from './acts/item-acts.schema.ts';
export { makeItemRelationships } from './acts/item-relationships.service.ts';
export { findSplitSource } from './acts/item-relationships.store.ts';
export { splitOff } from './acts/split-off.ts';
export { makeQualityRulesCache, type QualityRulesCache } from './quality/quality-rules-cache.ts';
export {
  findBrokenRule,
  severities,
  type QualityRule,
  type RecordPlaces,
  type Severity,
} from './quality/quality-rules.ts';
export { qualityRuleRoutes } from './quality/quality-rules.routes.ts';
export { makeQualityRulesService } from './quality/quality-rules.service.ts';
export { suggestionRoutes } from './suggestions/suggestions.routes.ts';
export { makeSuggestionsService } from './suggestions/suggestions.service.ts';
export { makeSuggestionsWork } from './suggestions/suggestions-work.ts';
export { conflictRoutes } from './conflicts/conflicts.routes.ts';
export { makeConflictsService } from './conflicts/conflicts.service.ts';
export { makeConflictResolver } from './conflicts/resolve-conflict.ts';
export { itemHistoryRoutes } from './history/item-history.routes.ts';
export { makeItemHistory } from './history/item-history.service.ts';
