import type { Knex, Queryable } from '#platform/database.ts';
import type { ValueChain } from '../value-chain.ts';
import type { Condition, QualityRule, Severity } from './quality-rules.ts';

export interface QualityRuleRow {
  quality_rule_id: string;
  name: string;
  value_chain: ValueChain | null;
  field: string;
  condition: Condition;
  severity: Severity;
  created_at: Date;
  updated_at: Date;
}

export interface NewQualityRule extends QualityRule {
  readonly qualityRuleId: string;
}

const columns = [
  'quality_rule_id',
  'name',
  'value_chain',
  'field',
  'condition',
  'severity',
  'created_at',
  'updated_at',
] as const;

/** The rules of a workspace by their names. */
export async function listQualityRules(knex: Knex, workspaceId: string): Promise<QualityRuleRow[]> {
  return knex('quality_rules')
    .where({ workspace_id: workspaceId })
    .select<QualityRuleRow[]>(...columns)
    .orderBy('name');
}

export async function findQualityRule(
  knex: Knex,
  workspaceId: string,
  qualityRuleId: string,
): Promise<QualityRuleRow | undefined> {
  return knex('quality_rules')
    .where({ workspace_id: workspaceId, quality_rule_id: qualityRuleId })
    .first<QualityRuleRow | undefined>(...columns);
}

/** Says that the rules of a workspace change, before they do; whoever changes them too waits until this is committed. */
export async function raiseRulesVersion(transaction: Knex, workspaceId: string): Promise<void> {
  await transaction('workspaces')
    .where({ workspace_id: workspaceId })
    .update({ quality_rules_version: transaction.raw('quality_rules_version + 1') });
}

export async function countQualityRules(knex: Knex, workspaceId: string): Promise<number> {
  const rows = await knex('quality_rules')
    .where({ workspace_id: workspaceId })
    .count<{ count: number }[]>('* as count');
  return rows[0]!.count;
}

function writtenColumns({ name, valueChain, field, condition, severity }: QualityRule) {
  return { name, value_chain: valueChain, field, condition: JSON.stringify(condition), severity };
}

export async function insertQualityRule(knex: Knex, workspaceId: string, rule: NewQualityRule): Promise<void> {
  await knex('quality_rules').insert({
    quality_rule_id: rule.qualityRuleId,
    workspace_id: workspaceId,
    ...writtenColumns(rule),
  });
}

/** False when the workspace has no such rule. */
export async function updateQualityRule(
  knex: Knex,
  workspaceId: string,
  { qualityRuleId, ...rule }: NewQualityRule,
): Promise<boolean> {
  const count = await knex('quality_rules')
    .where({ workspace_id: workspaceId, quality_rule_id: qualityRuleId })
    .update({ ...writtenColumns(rule), updated_at: knex.fn.now() });
  return count > 0;
}

/** False when the workspace has no such rule. */
export async function deleteQualityRule(knex: Knex, workspaceId: string, qualityRuleId: string): Promise<boolean> {
  return (
    (await knex('quality_rules').where({ workspace_id: workspaceId, quality_rule_id: qualityRuleId }).delete()) > 0
  );
}

/** The rules of a workspace for judging its records, the gravest first. */
export async function readQualityRules(queryable: Queryable, workspaceId: string): Promise<QualityRule[]> {
  const { rows } = await queryable.query<QualityRuleRow>({
    name: 'read_quality_rules',
    text: `select name, value_chain, field, condition, severity from quality_rules where workspace_id = $1
           order by array_position(array['Critical', 'High', 'Medium', 'Low'], severity), name`,
    values: [workspaceId],
  });
  return rows.map(({ value_chain: valueChain, name, field, condition, severity }) => ({
    name,
    valueChain,
    field,
    condition,
    severity,
  }));
}
