import type { z } from 'zod';
import type { Database, Knex } from '#platform/database.ts';
import { Problem, sqlStateOf } from '#platform/errors.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import { foldName } from '../fold-name.ts';
import type { TypeRegistry } from '../type-registry.ts';
import { identifierFieldPrefix } from './quality-rules.ts';
import type { qualityRuleBody } from './quality-rules.schema.ts';
import {
  countQualityRules,
  deleteQualityRule,
  findQualityRule,
  insertQualityRule,
  listQualityRules,
  raiseRulesVersion,
  updateQualityRule,
  type NewQualityRule,
  type QualityRuleRow,
} from './quality-rules.store.ts';

/** Each record is judged by all of them. */
const rulesPerWorkspaceMax = 100;
const uniqueViolation = '23505';

type QualityRuleBody = z.output<typeof qualityRuleBody>;
export type QualityRulesService = ReturnType<typeof makeQualityRulesService>;

/** Keeps what a workspace demands of its records. A change holds for all chunks that are worked after it. */
export function makeQualityRulesService({
  database: { knex },
  loadTypes,
}: {
  database: Database;
  loadTypes(): Promise<TypeRegistry>;
}) {
  const find = async (workspaceId: string, id: string): Promise<QualityRuleRow> => {
    const row = isUuid(id) ? await findQualityRule(knex, workspaceId, id) : undefined;
    if (!row) throw notFound();
    return row;
  };

  const ruleOf = async (qualityRuleId: string, body: QualityRuleBody): Promise<NewQualityRule> => {
    const { value_chain: valueChain, name, field, condition, severity } = body;
    const types = await loadTypes();
    return { qualityRuleId, valueChain, name, field: canonicalField(field, types), condition, severity };
  };

  const change = async (workspaceId: string, work: (transaction: Knex) => Promise<void>) => {
    try {
      await knex.transaction(async (transaction) => {
        await raiseRulesVersion(transaction, workspaceId);
        await work(transaction);
      });
    } catch (error) {
      if (sqlStateOf(error) !== uniqueViolation) throw error;
      throw new Problem('name_in_use', 'your workspace has a quality rule with this name', { cause: error });
    }
  };

  return {
    async list(workspaceId: string) {
      const rules = (await listQualityRules(knex, workspaceId)).map(showRule);
      return { quality_rules: rules, count: rules.length, total: rules.length, next_cursor: null };
    },

    get: async (workspaceId: string, id: string) => showRule(await find(workspaceId, id)),

    async create(workspaceId: string, body: QualityRuleBody) {
      const rule = await ruleOf(makeId(), body);
      await change(workspaceId, async (transaction) => {
        if ((await countQualityRules(transaction, workspaceId)) >= rulesPerWorkspaceMax)
          throw new Problem('invalid_request', `a workspace has at most ${rulesPerWorkspaceMax} quality rules`);
        await insertQualityRule(transaction, workspaceId, rule);
      });
      return showRule(await find(workspaceId, rule.qualityRuleId));
    },

    async replace(workspaceId: string, id: string, body: QualityRuleBody) {
      const rule = await ruleOf((await find(workspaceId, id)).quality_rule_id, body);
      await change(workspaceId, async (transaction) => {
        if (!(await updateQualityRule(transaction, workspaceId, rule))) throw notFound();
      });
      return showRule(await find(workspaceId, id));
    },

    async remove(workspaceId: string, id: string): Promise<void> {
      const row = await find(workspaceId, id);
      await change(workspaceId, async (transaction) => {
        if (!(await deleteQualityRule(transaction, workspaceId, row.quality_rule_id))) throw notFound();
      });
    },
  };
}

function notFound(): Problem {
  return new Problem('not_found', 'your workspace has no quality rule with this id');
}

/** A type of identifiers is named as the table of types names it, so that records may use any alias. */
function canonicalField(field: string, types: TypeRegistry): string {
  if (!field.startsWith(identifierFieldPrefix)) return field;
  const typeName = field.slice(identifierFieldPrefix.length);
  return `${identifierFieldPrefix}${types.find(typeName)?.name ?? foldName(typeName)}`;
}

function showRule(row: QualityRuleRow) {
  const { quality_rule_id: id, name, value_chain, field, condition, severity } = row;
  return {
    id,
    name,
    value_chain,
    field,
    condition,
    severity,
    action: 'hold' as const,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}
