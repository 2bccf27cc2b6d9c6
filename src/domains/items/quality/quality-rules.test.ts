import { describe, expect, test } from 'vitest';
import { seedTypes } from '../../../testing/deduplication.ts';
import { judgeRecord } from '../judge-record.ts';
import { readJsonRecord } from '../submitted-record.ts';
import { findBrokenRule, type Condition, type QualityRule, type RecordPlaces } from './quality-rules.ts';
import { qualityRuleBody } from './quality-rules.schema.ts';

const places: RecordPlaces = {
  field: (name) => `/metadata/${name}`,
  identifiers: () => '/identifiers',
  occurredAt: '/occurred_at',
};

function rule(field: string, condition: Condition, more: Partial<QualityRule> = {}): QualityRule {
  return { name: 'a rule', valueChain: null, field, condition, severity: 'Medium', ...more };
}

function faultOf(json: object, ...rules: QualityRule[]) {
  const submitted = readJsonRecord({ identifiers: [{ identifier_type: 'sisbov', value: 'BR105000000001' }], ...json });
  if (!submitted.ok) throw new Error(submitted.fault.detail);
  const judged = judgeRecord(submitted.value, {
    workspaceId: '018f0000-0000-7000-8000-000000000000',
    defaults: { valueChain: null, country: null, year: null },
    types: seedTypes,
    nowMicros: Date.now() * 1000,
  });
  if (!judged.ok) throw new Error(judged.fault.detail);
  return findBrokenRule(judged.value, rules, seedTypes, places);
}

const number = (minimum: number | null, maximum: number | null): Condition => ({
  check: 'number_between',
  minimum,
  maximum,
});
const date = (earliest: string | null, latest: string | null): Condition => ({
  check: 'date_between',
  earliest,
  latest,
});

describe('a quality rule on a field of the metadata', () => {
  test.each<[string, Condition, unknown, boolean]>([
    ['a missing value', { check: 'required' }, undefined, false],
    ['null', { check: 'required' }, null, false],
    ['an empty text', { check: 'required' }, '', true],
    ['zero and false', { check: 'required' }, 0, true],
    ['a missing value', { check: 'not_blank' }, undefined, true],
    ['null', { check: 'not_blank' }, null, false],
    ['blanks', { check: 'not_blank' }, ' \u00a0\t', false],
    ['a text', { check: 'not_blank' }, 'x', true],
    ['its bounds', number(20, 30), 20, true],
    ['its other bound', number(20, 30), 30, true],
    ['what is too low', number(20, 30), 19.99, false],
    ['what is too high', number(null, 30), 31, false],
    ['a text with a decimal comma', number(20, 30), ' 25,5 ', true],
    ['a text with a thousands separator', number(0, null), '1.234,5', false],
    ['a text in scientific notation', number(0, null), '1e3', false],
    ['an empty text', number(0, null), '', false],
    ['a list', number(0, null), [5], false],
    ['null, which is no value', number(20, 30), null, true],
    ['a value of the list', { check: 'one_of', values: ['Nelore', 2] }, 'Nelore', true],
    ['a number that a CSV has as text', { check: 'one_of', values: ['Nelore', 2] }, '2', true],
    ['another case', { check: 'one_of', values: ['Nelore'] }, 'nelore', false],
    ['an object', { check: 'one_of', values: ['Nelore'] }, {}, false],
    ['its first day', date('2024-01-01', '2024-12-31'), '2024-01-01', true],
    ['the last moment of its last day', date('2024-01-01', '2024-12-31'), '2024-12-31T23:59:59.999999Z', true],
    ['the day after', date('2024-01-01', '2024-12-31'), '2025-01-01', false],
    ['the day before', date('2024-01-01', null), '2023-12-31', false],
    ['a date whose day and month cannot be told', date('2024-01-01', null), '03/04/2024', false],
    ['a day that does not exist', date('2024-01-01', null), '2024-02-30', false],
    ['as many characters as allowed', { check: 'max_length', length: 3 }, 'ção', true],
    ['characters outside the basic plane', { check: 'max_length', length: 3 }, '🐂🐂🐂', true],
    ['one character more', { check: 'max_length', length: 3 }, '🐂🐂🐂🐂', false],
  ])('takes or holds %s (%j, %j)', (_what, condition, value, isTaken) => {
    const fault = faultOf({ metadata: value === undefined ? {} : { x: value } }, rule('x', condition));

    expect(fault && { code: fault.code, pointer: fault.pointer }).toEqual(
      isTaken ? undefined : { code: 'quality_rule', pointer: '/metadata/x' },
    );
  });
});

describe('a quality rule', () => {
  test('on identifiers finds them under any alias and points at the one that is wrong', () => {
    const values: Condition = { check: 'one_of', values: ['A1'] };
    const identifiers = [
      { identifier_type: 'SISBOV', value: 'BR105000000001' },
      { identifier_type: 'batch', value: 'A1' },
      { identifier_type: 'Lote', value: 'B2' },
    ];

    expect(faultOf({ identifiers }, rule('identifiers.lote', values))).toMatchObject({
      pointer: '/identifiers/2/value',
    });
    expect(faultOf({}, rule('identifiers.lote', { check: 'required' }))).toMatchObject({ pointer: '/identifiers' });
    expect(faultOf({}, rule('identifiers.sisbov', { check: 'required' }))).toBeUndefined();
  });

  test('on occurred_at judges the time of the record', () => {
    const time = { occurred_at: '2024-05-01T10:00:00-03:00' };

    expect(faultOf({}, rule('occurred_at', { check: 'required' }))).toMatchObject({ pointer: '/occurred_at' });
    expect(faultOf(time, rule('occurred_at', { check: 'required' }))).toBeUndefined();
    expect(faultOf(time, rule('occurred_at', date('2024-05-01', '2024-05-01')))).toBeUndefined();
    expect(faultOf(time, rule('occurred_at', date('2024-05-02', null)))).toBeDefined();
  });

  test('of a value chain leaves the records of others alone', () => {
    const soy = rule('x', { check: 'required' }, { valueChain: 'SOY' });

    expect(faultOf({ value_chain: 'BEEF' }, soy)).toBeUndefined();
    expect(faultOf({ value_chain: 'soja' }, soy)).toBeDefined();
  });

  test('that comes first is the one that is told', () => {
    const grave = rule('x', { check: 'required' }, { severity: 'Critical', name: 'grave' });

    expect(faultOf({}, grave, rule('y', { check: 'required' }))).toMatchObject({ severity: 'Critical', rule: 'grave' });
  });

  test.each([
    ['a blank name', { name: ' ' }],
    ['a name with a control character', { name: 'a\u0000b' }],
    ['an unknown value chain', { value_chain: 'WHEAT' }],
    ['a field without a type', { field: 'identifiers.' }],
    ['a check that nobody knows', { condition: { check: 'matches', pattern: '(a+)+' } }],
    ['a member that the check does not have', { condition: { check: 'required', length: 3 } }],
    ['no bounds', { condition: { check: 'number_between' } }],
    ['bounds that nothing is between', { condition: { check: 'number_between', minimum: 2, maximum: 1 } }],
    ['dates that nothing is between', { condition: date('2025-01-02', '2025-01-01') }],
    ['a date that is none', { condition: date('soon', null) }],
    ['no values', { condition: { check: 'one_of', values: [] } }],
    ['a number at a time', { field: 'occurred_at', condition: number(1, 2) }],
    ['a severity that nobody knows', { severity: 'Fatal' }],
    ['an action that is not built', { action: 'flag' }],
  ])('with %s is refused', (_what, more) => {
    const good = { name: 'a', field: 'x', condition: { check: 'required' } };

    expect(qualityRuleBody.safeParse(good).success).toBe(true);
    expect(qualityRuleBody.safeParse({ ...good, ...more }).success).toBe(false);
  });
});
