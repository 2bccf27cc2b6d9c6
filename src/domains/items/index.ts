export { absorbRecords, type Absorbed } from './absorb-records.ts';
export { ContentionError, type AbsorbContext } from './absorption.ts';
export type { IncomingRecord, Verdict } from './item-rows.ts';
export type { EntryStatus } from './deduplication.store.ts';
export { itemRoutes } from './items.routes.ts';
export { eventRoutes } from './item-events.routes.ts';
export { dfidRoutes } from './dfid.routes.ts';
export { makeItemsService, type ItemsService } from './items.service.ts';
export { listEntries, readEntries, type EntryRow, type ShownEntry } from './entries.store.ts';
export { foldName } from './fold-name.ts';
export { isCountryCode } from './country.ts';
export { judgeRecord, type JudgedRecord, type JudgingContext } from './judge-record.ts';
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
