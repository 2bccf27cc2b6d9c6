import type { Queryable } from '#platform/database.ts';
import type { QualityRule } from './quality-rules.ts';
import { readQualityRules } from './quality-rules.store.ts';

/** The rules of a workspace in the version that its row names; nothing is asked for workspaces that never had any. */
export type QualityRulesCache = (
  queryable: Queryable,
  workspaceId: string,
  version: number,
) => Promise<readonly QualityRule[]>;

const rememberedWorkspacesMax = 1000;
const none: readonly QualityRule[] = [];

/** Remembers the rules of workspaces by version, so that a rule that was changed holds for the next chunk already. */
export function makeQualityRulesCache(): QualityRulesCache {
  const remembered = new Map<string, { version: number; rules: readonly QualityRule[] }>();
  return async (queryable, workspaceId, version) => {
    if (version === 0) return none;
    const known = remembered.get(workspaceId);
    if (known?.version === version) return known.rules;
    const rules = await readQualityRules(queryable, workspaceId);
    if (remembered.size >= rememberedWorkspacesMax) remembered.delete(remembered.keys().next().value!);
    remembered.set(workspaceId, { version, rules });
    return rules;
  };
}
