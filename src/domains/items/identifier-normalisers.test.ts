import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readTypesOfNewInstallation } from '../../testing/identifier-types.ts';
import { normaliseIdentifier } from './identifier-normalisers.ts';

const { types, registry } = await readTypesOfNewInstallation();
const looseNormalisers = new Set(['free_text', 'crop_season']);
const strictTypes = types.filter(({ normaliser }) => !looseNormalisers.has(normaliser)).map(({ name }) => name);
const freeTextTypes = ['brinco', 'lote', 'safra', 'talhao', 'granja', 'brand_of_the_farm'];
const allTypes = [...strictTypes, ...freeTextTypes];

function normalise(typeName: string, raw: string) {
  return normaliseIdentifier(registry.find(typeName), typeName, raw);
}

function codeOf(typeName: string, raw: string) {
  const result = normalise(typeName, raw);
  return result.ok ? 'accepted' : result.code;
}

describe.each(allTypes)('every type, here %s', (typeName) => {
  it.each([
    ['identifier_too_long', '1'.repeat(257)],
    ['identifier_too_long', ' '.repeat(10_000)],
    ['blank_identifier', ''],
    ['blank_identifier', ' \u00a0\u3000 '],
    ['blank_identifier', '\t\r\n'],
    ['control_character', '105500000000001\u0000'],
    ['control_character', '105500000000001\n'],
    ['control_character', '1055\u007f00000000001'],
    ['control_character', '1055\u008500000000001'],
    ['control_character', '\u202e105500000000001'],
    ['control_character', '105500000000001\u200f'],
    ['control_character', '\u2066105500000000001\u2069'],
    ['spreadsheet_damage', '1,0555E+14'],
    ['spreadsheet_damage', '1.0555E+14'],
    ['spreadsheet_damage', ' 1e+14 '],
    ['invalid_identifier', '10550000000000\ud800'],
  ])('refuses as %s: %j', (code, raw) => {
    expect(codeOf(typeName, raw)).toBe(code);
  });

  it('never throws, and gives the same when a result is normalised again', () => {
    const nearlyRight = fc.string({
      unit: fc.constantFrom('0', '1', '5', '9', 'B', 'R', '-', ' ', '(', 'é', '\u0345', 'ß'),
    });
    const hostile = fc.string({ unit: 'binary', maxLength: 300 });
    fc.assert(
      fc.property(fc.oneof(hostile, nearlyRight), (raw) => {
        const result = normalise(typeName, raw);
        expect(result.ok ? normalise(result.claimType, result.value) : result).toEqual(result);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps the value out of the reason for a refusal', () => {
    const result = normalise(typeName, '123.456.789-01\u0000');
    expect(result).toMatchObject({ ok: false, detail: expect.not.stringContaining('456') });
  });
});

describe('types with a strict form', () => {
  it.each(strictTypes)('%s refuses characters that are not shown', (typeName) => {
    for (const invisible of ['\u200b', '\u200d', '\u2060', '\ufeff', '\u00ad']) {
      expect(codeOf(typeName, `1055000${invisible}00000001`)).toBe('control_character');
    }
  });

  it.each(strictTypes)('%s refuses full-width and other digits instead of guessing them', (typeName) => {
    expect(codeOf(typeName, '１０５５０００００００００００１')).toBe('invalid_identifier');
    expect(codeOf(typeName, '١٠٥٥٠٠٠٠٠٠٠٠٠٠١')).toBe('invalid_identifier');
  });
});

it('lets the FNC1 of scanners through for types of GS1 alone', () => {
  const scanned = '010950600013435221A\u001d';
  expect(normalise('sgtin', scanned)).toMatchObject({ ok: true, value: '(01)09506000134352(21)A' });
  for (const typeName of ['gtin', 'gln', 'sscc', 'lgtin']) expect(codeOf(typeName, scanned)).toBe('invalid_identifier');
  for (const typeName of ['sisbov', 'cpf', 'lote', 'unknown'])
    expect(codeOf(typeName, scanned)).toBe('control_character');
  expect(codeOf('gs1', '\u001d')).toBe('blank_identifier');
});

describe('names that people give', () => {
  it.each([
    ['lote', '  l-12   a ', 'L-12 A'],
    ['safra', '2024/2025', '2024/2025'],
    ['talhao', 'São\u00a0José', 'SÃO JOSÉ'],
    ['talhao', 'Sa\u0303o Jose\u0301', 'SÃO JOSÉ'],
    ['granja', 'straße', 'STRASSE'],
    ['brinco', '0012', '0012'],
    ['lote', '5E+', '5E+'],
    ['lote', '1E14', '1E14'],
  ])('%s %j is compared as %j', (typeName, raw, value) => {
    expect(normalise(typeName, raw)).toEqual({ ok: true, claimType: typeName, value });
  });

  it('are blank when nothing of them is shown', () => {
    expect(codeOf('lote', '\u200b\u2060 \u3164')).toBe('blank_identifier');
  });

  it('are too long when their upper case is', () => {
    expect(codeOf('lote', 'ß'.repeat(200))).toBe('identifier_too_long');
    expect(codeOf('lote', 'x'.repeat(256))).toBe('accepted');
  });

  it('are compared under the name of the type, whichever alias was sent', () => {
    expect(normalise('Batch', 'a')).toEqual({ ok: true, claimType: 'lote', value: 'A' });
  });
});

describe('unknown types', () => {
  it('are kept under their folded name', () => {
    expect(normalise(' Marca a Fogo\u00a0', 'jb ')).toEqual({ ok: true, claimType: 'marca a fogo', value: 'JB' });
    expect(normalise('Inscrição', 'x')).toEqual(normalise('inscricao', 'X'));
  });

  it.each(['', '   ', '\u2028', 'x'.repeat(65), 'x'.repeat(10_000), 'a\u0000b', '\tlote', 'a\u202eb', '\ud800'])(
    'have a name of 1 to 64 plain characters, not %j',
    (typeName) => {
      expect(codeOf(typeName, 'value')).toBe('invalid_identifier');
    },
  );

  it('cannot pass for what a known type is compared under', () => {
    const claimTypes = ['sisbov', 'chip', 'official_transponder', 'sgtin'];
    for (const name of claimTypes) expect(codeOf(name, 'made up')).toBe('invalid_identifier');
  });
});
