import { describe, expect, it } from 'vitest';
import { readTypesOfNewInstallation } from '../../testing/identifier-types.ts';
import { claimKey, judgeRecord } from './judge-record.ts';
import { readJsonRecord } from './submitted-record.ts';
import { makeTypeRegistry, type TypeRegistry } from './type-registry.ts';
import type { ValueChain } from './value-chain.ts';

const { types, fingerprintRules, registry } = await readTypesOfNewInstallation();

type SentIdentifier = readonly [typeName: string, value: string];

function judge(
  identifiers: readonly SentIdentifier[],
  valueChain: ValueChain = 'BEEF',
  known: TypeRegistry = registry,
) {
  const submitted = readJsonRecord({
    value_chain: valueChain,
    identifiers: identifiers.map(([typeName, value]) => ({ identifier_type: typeName, value })),
  });
  if (!submitted.ok) throw new Error(submitted.fault.detail);
  const judgement = judgeRecord(submitted.value, {
    workspaceId: '00000000-0000-7000-8000-000000000001',
    defaults: { valueChain: null, country: null, year: null },
    types: known,
    nowMicros: 1_760_000_000_000_000,
  });
  return judgement.ok ? { claims: judgement.value.claims, identifiers: judgement.value.identifiers } : judgement.fault;
}

const gtin = '09506000134352';
const serial = `(01)${gtin}(21)A-7`;
const lot = `(01)${gtin}(10)L1`;
const sscc = '106141412345678908';
const gln = '9506000111315';

describe('a GS1 key', () => {
  it.each([
    ['element string with brackets', serial],
    ['element string with brackets in another order', `(21)A-7(01)${gtin}`],
    ['element string with FNC1', `21A-7\u001d01${gtin}`],
    ['scan with FNC1 in front and behind', `\u001d01${gtin}21A-7\u001d`],
    ['scan with its symbology identifier', `]C101${gtin}21A-7`],
    ['EPC URN', 'urn:epc:id:sgtin:9506000.013435.A-7'],
    ['Digital Link', `https://example.com/some/where/01/${gtin}/21/A-7?10=L1`],
  ])('with a serial is one identifier, sent as sgtin or as gs1: %s', (_form, value) => {
    const claims = [claimKey('sgtin', serial)];
    expect(judge([['sgtin', value]])).toMatchObject({ claims });
    expect(judge([['gs1', value]])).toMatchObject({ claims });
  });

  it.each([
    ['lgtin', lot, [lot, `01${gtin}10L1`, `10L1\u001d01${gtin}`, 'urn:epc:class:lgtin:9506000.013435.L1']],
    ['sscc', sscc, [sscc, `(00)${sscc}`, `]C100${sscc}`, `https://id.gs1.org/00/${sscc}`]],
  ])('of type %s identifies an item, in every form and sent as gs1 too', (typeName, normal, forms) => {
    for (const form of forms) {
      for (const sentAs of [typeName, 'gs1'])
        expect(judge([[sentAs, form]])).toMatchObject({ claims: [claimKey(typeName, normal)] });
    }
  });

  it.each([
    ['a place', `(414)${gln}`],
    ['a place with an extension', `(414)${gln}(254)7`],
    ['a party', `(417)${gln}`],
    ['a class', gtin],
    ['a class in a Digital Link', `https://id.gs1.org/01/${gtin}`],
  ])('that is %s identifies nothing, although sent as gs1', (_what, value) => {
    expect(judge([['gs1', value]])).toMatchObject({ code: 'no_identifying_identifier' });
    expect(
      judge([
        ['gs1', value],
        ['sgtin', serial],
      ]),
    ).toMatchObject({ claims: [claimKey('sgtin', serial)] });
  });

  it('keeps the value as it was sent beside the one it is compared by', () => {
    const raw = `\u001d01${gtin}21A-7`;
    expect(judge([['gs1', raw]])).toMatchObject({
      identifiers: [{ typeName: 'gs1', raw, claimType: 'sgtin', value: serial, isCanonical: true }],
    });
  });

  it.each([
    ['sgtin', `(01)${gtin.slice(0, -1)}3(21)A`],
    ['lgtin', `(01)${gtin.slice(0, -1)}3(10)A`],
    ['sscc', '106141412345678907'],
    ['gln', '9506000111314'],
    ['gtin', '09506000134353'],
    ['gs1', `https://id.gs1.org/01/${gtin.slice(0, -1)}3/21/A`],
  ])('with a wrong check digit refuses the record and points at the value: %s', (typeName, value) => {
    const fault = { code: 'wrong_check_digit', pointer: '/identifiers/1/value' };
    expect(
      judge([
        ['sisbov', 'BR105000000001'],
        [typeName, value],
      ]),
    ).toMatchObject(fault);
  });
});

describe('a number of the official programme', () => {
  it.each(['sisbov', 'rfid', 'chip', 'official_transponder'])('is one identifier when sent as %s', (typeName) => {
    expect(judge([[typeName, '076 000.000.000-123']])).toMatchObject({
      claims: [claimKey('official_transponder', '076000000000123')],
    });
  });

  it('with BR equals the one with 105, and with a manufacturer code it is a chip', () => {
    expect(judge([['sisbov', 'br105000000001']])).toEqual(
      expect.objectContaining({ claims: [claimKey('sisbov', '105105000000001')] }),
    );
    expect(judge([['sisbov', '105105000000001']])).toMatchObject({ claims: [claimKey('sisbov', '105105000000001')] });
    expect(judge([['sisbov', '982000000000001']])).toMatchObject({ claims: [claimKey('chip', '982000000000001')] });
  });
});

describe('a type that is canonical in some chains', () => {
  const onlyBeef = makeTypeRegistry(
    types.map((type) => (type.name === 'sisbov' ? { ...type, canonicalChains: ['BEEF'] as const } : type)),
    fingerprintRules,
  );
  const sisbov = '105105000000001';

  it('identifies in these, and is kept without identifying in the others', () => {
    expect(judge([['sisbov', sisbov]], 'BEEF', onlyBeef)).toMatchObject({ claims: [claimKey('sisbov', sisbov)] });
    expect(judge([['sisbov', sisbov]], 'MILK', onlyBeef)).toMatchObject({
      claims: [],
      identifiers: [{ claimType: 'sisbov', value: sisbov, isCanonical: false }],
    });
  });

  it('is judged as the type that the value turns out to be of', () => {
    const transponder = judge([['sisbov', '076000000000123']], 'MILK', onlyBeef);
    expect(transponder).toMatchObject({ claims: [claimKey('official_transponder', '076000000000123')] });
  });

  it('makes one claim of a value, whatever the chain', () => {
    const claimsOf = (chain: ValueChain) => judge([['sisbov', sisbov]], chain);
    expect(claimsOf('MILK')).toEqual(claimsOf('BEEF'));
  });

  it('keeps its cardinality where it is not canonical any more', () => {
    const nowhere = types.map((type) => (type.name === 'sisbov' ? { ...type, canonicalChains: [] } : type));
    expect(makeTypeRegistry(nowhere, []).singleClaimTypes).toContain('sisbov');
  });
});

describe('a lot', () => {
  const chip = ['chip', '982000000000001'] as const;

  it.each([
    ['a serial', ['sgtin', serial] as const, claimKey('sgtin', serial)],
    ['a logistic unit', ['sscc', sscc] as const, claimKey('sscc', sscc)],
    ['another canonical identifier', chip, claimKey('chip', chip[1])],
  ])('beside %s is where the thing comes from: it is kept, and identifies nothing', (_name, finer, claim) => {
    for (const named of [
      [finer, ['lgtin', lot] as const],
      [['gs1', lot] as const, finer],
    ]) {
      const judged = judge(named);
      expect(judged).toMatchObject({ claims: [claim] });
      expect(judged).toMatchObject({
        identifiers: expect.arrayContaining([
          expect.objectContaining({ claimType: 'lgtin', value: lot, isCanonical: false }),
        ]),
      });
    }
  });

  it('beside parties, places, classes and contextual identifiers is the item', () => {
    expect(
      judge([
        ['lgtin', lot],
        ['gln', gln],
        ['gtin', gtin],
        ['brinco', 'T1'],
      ]),
    ).toMatchObject({ claims: [claimKey('lgtin', lot)] });
  });
});

describe('an event that tells of a replaced identifier', () => {
  const old = { identifier_type: 'rfid', value: '982 000 000 000 001' };
  const next = { key: 'chip', namespace: 'bovino', value: '982000000000002' };

  function judgeEvent(payload: unknown, rest: object = {}) {
    const submitted = readJsonRecord({
      occurred_at: '2025-01-02T00:00:00Z',
      identifiers: [],
      events: [{ event_type: 'weighed' }, { event_type: 'identifier_replaced', payload, ...rest }],
    });
    if (!submitted.ok) throw new Error(submitted.fault.detail);
    const judgement = judgeRecord(submitted.value, {
      workspaceId: '00000000-0000-7000-8000-000000000001',
      defaults: { valueChain: null, country: null, year: null },
      types: registry,
      nowMicros: 1_760_000_000_000_000,
    });
    return judgement.ok ? judgement.value : judgement.fault;
  }

  const micros = (time: string) => Date.parse(time) * 1000;

  it('names both in their normal forms, and ends the old one', () => {
    expect(judgeEvent({ old, new: next, reason: 'lost', note: 'more' })).toMatchObject({
      claims: [claimKey('chip', '982000000000001'), claimKey('chip', '982000000000002')],
      ended: [{ key: claimKey('chip', '982000000000001'), endedAtMicros: micros('2025-01-02T00:00:00Z') }],
    });
  });

  it.each([
    ['at', { at: '2025-01-01T00:00:00Z' }, { occurred_at: '2025-01-01T12:00:00Z' }, '2025-01-01T00:00:00Z'],
    ['its own time', {}, { occurred_at: '2025-01-01T12:00:00Z' }, '2025-01-01T12:00:00Z'],
  ])('ends it at the time that it states: %s', (_name, more, event, time) => {
    expect(judgeEvent({ old, new: next, ...more }, event)).toMatchObject({ ended: [{ endedAtMicros: micros(time) }] });
  });

  it('ends nothing that identifies nothing by itself', () => {
    const tag = { identifier_type: 'brinco', value: 'T1' };
    expect(judgeEvent({ old: tag, new: next })).toMatchObject({
      claims: [claimKey('chip', '982000000000002')],
      ended: [],
    });
  });

  it.each([
    ['no payload', undefined, 'invalid_member', '/events/1/payload'],
    ['a list as payload', [], 'invalid_member', '/events/1/payload'],
    ['nothing new', { old }, 'invalid_member', '/events/1/payload/new'],
    ['an old one without type', { old: { value: '1' }, new: next }, 'invalid_member', '/events/1/payload/old'],
    ['a number', { old: { ...old, value: 982 }, new: next }, 'invalid_member', '/events/1/payload/old/value'],
    ['no chip number', { old, new: { ...next, value: 'x' } }, 'invalid_identifier', '/events/1/payload/new/value'],
    ['the same one', { old, new: old }, 'invalid_member', '/events/1/payload/new/value'],
    [
      'a party',
      { old: { identifier_type: 'cpf', value: '111.444.777-35' }, new: next },
      'invalid_member',
      '/events/1/payload/old/value',
    ],
    ['a reason that is no text', { old, new: next, reason: 1 }, 'invalid_member', '/events/1/payload/reason'],
    ['a time that is none', { old, new: next, at: 'May' }, 'invalid_occurred_at', '/events/1/payload/at'],
    ['a time ahead', { old, new: next, at: '2200-01-01T00:00:00Z' }, 'invalid_occurred_at', '/events/1/payload/at'],
  ])('is refused with a pointer to what is wrong: %s', (_name, payload, code, pointer) => {
    expect(judgeEvent(payload)).toMatchObject({ code, pointer });
  });
});
