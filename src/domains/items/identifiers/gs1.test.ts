import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normaliseGln, normaliseGs1, normaliseGtin, normaliseLgtin, normaliseSgtin, normaliseSscc } from './gs1.ts';
import { accepted } from './result.ts';

/** The check digit by the table of weights for an odd number of digits, in another way than the code under test. */
function withCheckDigit(body: string, length = 13): string {
  const total = Array.from(body.padStart(length, '0')).reduce(
    (sum, digit, index) => sum + Number(digit) * (index % 2 ? 1 : 3),
    0,
  );
  return body + String((1000 - total) % 10);
}

function digits(length: number) {
  return fc
    .string({ unit: fc.constantFrom(...Array.from('0123456789')), minLength: length, maxLength: length })
    .filter((text) => /[1-9]/.test(text));
}

const anyGtin = fc.constantFrom(7, 11, 12, 13).chain(digits).map(withCheckDigit);
const set82 = Array.from('!"%&\'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz');
const anySerial = fc
  .string({ unit: fc.constantFrom(...set82), minLength: 1, maxLength: 20 })
  .filter((serial) => !/\(\d{2,4}\)/.test(serial));

function escapedFor(serial: string, characters: RegExp): string {
  return serial.replace(characters, (one) => `%${one.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** `number` is the key with its check digit as the forms show it. */
interface AnyKey {
  type: 'gtin' | 'gln' | 'sscc' | 'sgtin' | 'lgtin';
  value: string;
  number: string;
  forms: string[];
}

const separatorOfElements = '\u001D';
const anyCompanyLength = fc.integer({ min: 6, max: 12 });
const anyPrefix = fc.constantFrom('', ']C1', ']d2', ']Q3', ']e0');
const anyStem = fc.constantFrom('https://id.gs1.org', 'http://example.com:8080/a/00/b', 'HTTPS://example.com/01/x');
const escapedForEpc = (text: string) => escapedFor(text, /["%&/<>?]/g);
const escapedForLink = (text: string) => escapedFor(text, /["%/<>?]/g);

function tradeItemReference(body: string, companyLength: number): string {
  return `${body.slice(1, 1 + companyLength)}.${body.charAt(0)}${body.slice(1 + companyLength)}`;
}

const anyGtinKey = fc
  .tuple(digits(13), anyCompanyLength, anyPrefix, anyStem)
  .map(([body, companyLength, prefix, stem]): AnyKey => {
    const gtin = withCheckDigit(body);
    return {
      type: 'gtin',
      value: gtin,
      number: gtin,
      forms: [
        gtin,
        `(01)${gtin}`,
        `${prefix}01${gtin}`,
        `${prefix}1126010101${gtin}3103000195`,
        `${stem}/01/${gtin}?10=A&21=B`,
        `urn:epc:idpat:sgtin:${tradeItemReference(body, companyLength)}.*`,
      ],
    };
  });

const anyPartOfGtin = fc
  .tuple(
    fc.constantFrom(['sgtin', '21', 'id:sgtin'] as const, ['lgtin', '10', 'class:lgtin'] as const),
    digits(13),
    anyCompanyLength,
    anySerial,
    anyPrefix,
    anyStem,
  )
  .map(([[type, element, scheme], body, companyLength, part, prefix, stem]): AnyKey => {
    const gtin = withCheckDigit(body);
    const value = `(01)${gtin}(${element})${part}`;
    return {
      type,
      value,
      number: gtin,
      forms: [
        value,
        `(${element})${part}(01)${gtin}`,
        `${prefix}01${gtin}${element}${part}`,
        `${prefix}${element}${part}${separatorOfElements}01${gtin}17271231`,
        `${stem}/01/${gtin}/${element}/${escapedForLink(part)}`,
        `${stem}/01/${gtin}/22/V%2F1/${element}/${escapedFor(part, /./g)}?linkType=all#top`,
        `urn:epc:${scheme}:${tradeItemReference(body, companyLength)}.${escapedForEpc(part)}`,
      ],
    };
  });

const anySscc = fc
  .tuple(digits(17), anyCompanyLength, anyPrefix, anyStem)
  .map(([body, companyLength, prefix, stem]): AnyKey => {
    const sscc = withCheckDigit(body, 17);
    return {
      type: 'sscc',
      value: sscc,
      number: sscc,
      forms: [
        sscc,
        `(00)${sscc}`,
        `${prefix}00${sscc}`,
        `${stem}/00/${sscc}`,
        `urn:epc:id:sscc:${tradeItemReference(body, companyLength)}`,
      ],
    };
  });

const anyGln = fc
  .tuple(digits(12), anyCompanyLength, fc.option(anySerial.filter((one) => one !== '0')), anyPrefix, anyStem)
  .map(([body, companyLength, extension, prefix, stem]): AnyKey => {
    const gln = withCheckDigit(body);
    const reference = `${body.slice(0, companyLength)}.${body.slice(companyLength)}`;
    if (extension === null) {
      return {
        type: 'gln',
        value: gln,
        number: gln,
        forms: [
          `(414)${gln}`,
          `(417)${gln}`,
          `${prefix}414${gln}`,
          `${stem}/414/${gln}`,
          `${stem}/417/${gln}`,
          `urn:epc:id:sgln:${reference}.0`,
          `urn:epc:id:pgln:${reference}`,
        ],
      };
    }
    return {
      type: 'gln',
      value: `(414)${gln}(254)${extension}`,
      number: gln,
      forms: [
        `(414)${gln}(254)${extension}`,
        `${prefix}414${gln}254${extension}`,
        `${stem}/414/${gln}/254/${escapedForLink(extension)}`,
        `urn:epc:id:sgln:${reference}.${escapedForEpc(extension)}`,
      ],
    };
  });

const anyKey = fc.oneof(anyGtinKey, anyPartOfGtin, anySscc, anyGln);

/** All Unicode, and texts put together from what the readers look for. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 256 }),
  fc
    .array(
      fc.oneof(
        fc.constantFrom(
          '(01)',
          '(21)',
          '(10)',
          '(254)',
          '01',
          '21',
          '10',
          '00',
          '414',
          separatorOfElements,
          ' ',
          ']C1',
        ),
        fc.constantFrom('09520123456788', '952012345678912345', '9520123456788', '4006381333931', '96385074'),
        fc.constantFrom('https://a', '/01/', '/21/', '/10/', '/414/', '/254/', '/00/', '?', '#', '%2F', '%', '%00'),
        fc.constantFrom('urn:epc:id:sgtin:', 'urn:epc:id:sgln:', 'urn:epc:class:lgtin:', '0614141', '.', '112345', '*'),
        fc.string({ unit: 'grapheme', maxLength: 5 }),
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join('').slice(0, 256)),
);

describe('normaliseGtin', () => {
  it.each([
    ['96385074', '00000096385074'],
    ['614141123452', '00614141123452'],
    ['4006381333931', '04006381333931'],
    ['10614141123459', '10614141123459'],
    ['(01)10614141123459', '10614141123459'],
    [' 4006381333931 ', '04006381333931'],
  ])('reads %j as %s', (raw, value) => {
    expect(normaliseGtin('gtin', raw)).toEqual(accepted('gtin', value));
  });

  it.each([
    ['wrong_check_digit', '4006381333932'],
    ['wrong_check_digit', '(01)10614141123458'],
    ['invalid_identifier', '400638133393'.slice(0, 11)],
    ['invalid_identifier', '963850745'],
    ['invalid_identifier', '(01)4006381333931'],
    ['invalid_identifier', '4006381-333931'],
    ['invalid_identifier', '00000000'],
    ['invalid_identifier', '４００６３８１３３３９３１'],
  ])('refuses as %s: %s', (code, raw) => {
    expect(normaliseGtin('gtin', raw)).toMatchObject({ ok: false, code });
  });

  it('takes every number with the right check digit, of any length the same as filled with zeros', () => {
    fc.assert(
      fc.property(anyGtin, (gtin) => {
        expect(normaliseGtin('gtin', gtin)).toEqual(accepted('gtin', gtin.padStart(14, '0')));
      }),
    );
  });

  it('refuses any change of one digit', () => {
    fc.assert(
      fc.property(anyGtin, fc.nat(13), fc.integer({ min: 1, max: 9 }), (gtin, at, by) => {
        const position = at % gtin.length;
        const changed = gtin.slice(0, position) + ((Number(gtin[position]) + by) % 10) + gtin.slice(position + 1);
        expect(normaliseGtin('gtin', changed).ok).toBe(false);
      }),
    );
  });
});

describe('normaliseSgtin', () => {
  const value = '(01)80614141123458(21)6789';

  it.each([
    value,
    '0180614141123458216789',
    'urn:epc:id:sgtin:0614141.812345.6789',
    'URN:EPC:id:sgtin:0614141.812345.6789',
    'urn:epc:id:sgtin:0614141.812345.%36789',
    'https://id.gs1.org/01/80614141123458/21/6789',
    'http://example.com/some/path/01/80614141123458/21/6789',
    'HTTPS://example.com:8443/01/80614141123458/22/2A/10/LOT%201/21/6789?17=271231#top',
    ` ${value} `,
  ])('reads %s as one and the same key', (raw) => {
    expect(normaliseSgtin('sgtin', raw)).toEqual(accepted('sgtin', value));
  });

  it.each([
    ['urn:epc:id:sgtin:0614141.112345.a%2Fb%25%22', '(01)10614141123459(21)a/b%"'],
    ['https://example.com/01/10614141123459/21/a%2Fb%3F', '(01)10614141123459(21)a/b?'],
    ['https://example.com/01/4006381333931/21/1', '(01)04006381333931(21)1'],
    ['(01)80614141123458(21)6789(10)LOT', value],
    ['https://example.com/01/80614141123458/21/6789/', value],
    ...['(710)A', '(7009)FAO', '(7011)261127', '(7240)P-1', '(8030)ab_-=', '(8200)https://x.y', '(235)T'].flatMap(
      (more): [string, string][] => [
        [`(01)80614141123458(21)6789${more}`, value],
        [`(01)80614141123458${more}(21)6789`, value],
      ],
    ),
    ['(01)80614141123458(21)6789(401)C(402)01234567890123456(4300)A%20B', value],
    ['https://example.com/01/10614141123459/21/2/01/80614141123458/21/6789', value],
    ['(01)10614141123459(21)(a)', '(01)10614141123459(21)(a)'],
    ['urn:epc:id:sgtin:061414112345.1.A', '(01)10614141123459(21)A'],
  ])('reads %s as %s', (raw, expected) => {
    expect(normaliseSgtin('sgtin', raw)).toEqual(accepted('sgtin', expected));
  });

  it.each([
    ['a GTIN alone', '(01)80614141123458'],
    ['no serial', '(01)80614141123458(21)'],
    ['a serial of 21 characters', `(01)80614141123458(21)${'a'.repeat(21)}`],
    ['a character outside of set 82', '(01)80614141123458(21)a#b'],
    ['a blank in the serial', '(01)80614141123458(21)a b'],
    ['an accent in the serial', '(01)80614141123458(21)é'],
    ['a serial that reads like a further element', 'urn:epc:id:sgtin:0614141.812345.6789(10)LOT'],
    ['a short GTIN in brackets', '(01)4006381333931(21)1'],
    ['a GTIN of zeros', '(01)00000000000000(21)1'],
    ['an EPC with 12 digits', 'urn:epc:id:sgtin:0614141.12345.1'],
    ['an EPC with 14 digits', 'urn:epc:id:sgtin:0614141.1123456.1'],
    ['an EPC company of 5 digits', 'urn:epc:id:sgtin:06141.11123456.1'],
    ['an EPC pattern', 'urn:epc:idpat:sgtin:0614141.112345.*'],
    ['an EPC with an unescaped slash', 'urn:epc:id:sgtin:0614141.112345.a/b'],
    ['a broken escape', 'urn:epc:id:sgtin:0614141.112345.a%2'],
    ['an escaped control character', 'urn:epc:id:sgtin:0614141.112345.a%00'],
    ['an escape outside of ASCII', 'https://example.com/01/80614141123458/21/%C3%A9'],
    ['a link without serial', 'https://example.com/01/80614141123458'],
    ['a link with the serial in its query', 'https://example.com/01/80614141123458?21=6789'],
    ['a link that goes on', 'https://example.com/01/80614141123458/21/6789/x'],
    ['a serial of a third party alone', '(01)80614141123458(235)6789'],
    ['a link of another scheme', 'ftp://example.com/01/80614141123458/21/6789'],
    ['a link without host', 'https:///01/80614141123458/21/6789'],
  ])('refuses %s', (_, raw) => {
    expect(normaliseSgtin('sgtin', raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
  });

  it.each(['(01)80614141123459(21)6789', '0180614141123459216789', 'https://example.com/01/80614141123459/21/6789'])(
    'refuses the wrong check digit of %s',
    (raw) => {
      expect(normaliseSgtin('sgtin', raw)).toMatchObject({ ok: false, code: 'wrong_check_digit' });
    },
  );

  it('gives one value for all forms of a key, and for that value again', () => {
    fc.assert(
      fc.property(digits(13), fc.integer({ min: 6, max: 12 }), anySerial, (body, companyLength, serial) => {
        const gtin = withCheckDigit(body);
        const company = body.slice(1, 1 + companyLength);
        const itemReference = body.charAt(0) + body.slice(1 + companyLength);
        const expected = accepted('sgtin', `(01)${gtin}(21)${serial}`);
        for (const raw of [
          `(01)${gtin}(21)${serial}`,
          `01${gtin}21${serial}`,
          `urn:epc:id:sgtin:${company}.${itemReference}.${escapedFor(serial, /["%&/<>?]/g)}`,
          `https://example.com/any/01/${gtin}/21/${escapedFor(serial, /["%/<>?]/g)}`,
          `https://example.com/01/${gtin}/21/${escapedFor(serial, /./g)}?linkType=all`,
        ]) {
          expect(normaliseSgtin('sgtin', raw)).toEqual(expected);
        }
      }),
    );
  });
});

const normalisersByType = {
  gtin: normaliseGtin,
  gln: normaliseGln,
  sscc: normaliseSscc,
  sgtin: normaliseSgtin,
  lgtin: normaliseLgtin,
};

type KeyType = keyof typeof normalisersByType;
const keyTypes = Object.keys(normalisersByType) as KeyType[];

describe('the forms of a GS1 key', () => {
  it.each<[KeyType, string, string]>([
    // GS1 Digital Link: URI Syntax, examples, and the test suite of the GS1 Barcode Syntax Engine.
    ['gtin', 'https://id.gs1.org/01/09520123456788', '09520123456788'],
    ['gtin', 'https://brand.example.com/some-extra/pathinfo/01/9520123456788', '09520123456788'],
    ['gtin', 'https://a/01/416000336108', '00416000336108'],
    ['gtin', 'https://a/01/02345673', '00000002345673'],
    ['gtin', 'https://id.gs1.org/01/09520123456788/22/2A', '09520123456788'],
    ['gtin', 'https://example.com/01/9520123456788?3103=000195&3922=0299&17=201225', '09520123456788'],
    ['gtin', 'https://example.com/01/9520123456788?21=12345&10=LOT#/21/6', '09520123456788'],
    ['lgtin', 'https://id.gs1.org/01/09520123456788/10/ABC123', '(01)09520123456788(10)ABC123'],
    ['lgtin', 'https://id.gs1.org/01/09520123456788/22/2A/10/ABC%2F1', '(01)09520123456788(10)ABC/1'],
    ['sgtin', 'https://id.gs1.org/01/09520123456788/21/12345', '(01)09520123456788(21)12345'],
    ['sgtin', 'https://id.gs1.org/01/09520123456788/10/ABC1/21/12345?17=180426', '(01)09520123456788(21)12345'],
    ['sgtin', 'https://id.gs1.org/01/09520123456788/10/01/21/00', '(01)09520123456788(21)00'],
    ['sscc', 'https://id.gs1.org/00/952012345678912345?02=09520123456788&37=25&10=ABC123', '952012345678912345'],
    ['sscc', 'https://a/00/faux/00/006141411234567890', '006141411234567890'],
    ['gln', 'https://id.gs1.org/414/9520123456788', '9520123456788'],
    ['gln', 'https://id.gs1.org/417/9520123456788', '9520123456788'],
    ['gln', 'https://id.gs1.org/414/9520123456788/254/32a%2Fb', '(414)9520123456788(254)32a/b'],
    // EPC Tag Data Standard, sections 6 and 7, and EPCIS.
    ['sgtin', 'urn:epc:id:sgtin:4012345.011111.987', '(01)04012345111118(21)987'],
    ['gtin', 'urn:epc:idpat:sgtin:0614141.812345.*', '80614141123458'],
    ['lgtin', 'urn:epc:class:lgtin:4012345.012345.998877', '(01)04012345123456(10)998877'],
    ['sscc', 'urn:epc:id:sscc:0614141.1234567890', '106141412345678908'],
    ['sscc', 'urn:epc:id:sscc:234567.18901234567', '123456789012345675'],
    ['gln', 'urn:epc:id:sgln:0614141.12345.400', '(414)0614141123452(254)400'],
    ['gln', 'urn:epc:id:sgln:0614141.12345.0', '0614141123452'],
    ['gln', 'urn:epc:id:sgln:061414112345..0', '0614141123452'],
    ['gln', 'urn:epc:id:sgln:0614141.12345.00', '(414)0614141123452(254)00'],
    ['gln', 'urn:epc:id:sgln:0037000.00729.8001', '(414)0037000007296(254)8001'],
    ['gln', 'urn:epc:id:pgln:0614141.12345', '0614141123452'],
    // Element strings, as in the GS1 General Specifications.
    ['gtin', '(01)09520123456788(17)201225(3103)000195', '09520123456788'],
    ['gtin', '01095201234567881720122531030001953922029', '09520123456788'],
    ['gtin', '(414)9520123456788(01)09520123456788', '09520123456788'],
    ['gtin', '(01) 09520123456788 (15) 201225', '09520123456788'],
    ['gtin', ']E09520123456788', '09520123456788'],
    ['gtin', ']C10109520123456788', '09520123456788'],
    ['lgtin', ']d201095201234567881720122510ABC123', '(01)09520123456788(10)ABC123'],
    ['lgtin', '010952012345678810ABC21DEF', '(01)09520123456788(10)ABC21DEF'],
    [
      'lgtin',
      `${separatorOfElements}010952012345678810ABC${separatorOfElements}3103000195${separatorOfElements}422076${separatorOfElements}`,
      '(01)09520123456788(10)ABC',
    ],
    [
      'sgtin',
      `]Q3010952012345678810ABC${separatorOfElements}21XYZ${separatorOfElements}240P-1`,
      '(01)09520123456788(21)XYZ',
    ],
    ['sgtin', `]e021XYZ${separatorOfElements}0109520123456788`, '(01)09520123456788(21)XYZ'],
    ['sscc', `]C1009520123456789123450209520123456788372${separatorOfElements}10ABC`, '952012345678912345'],
    ['sscc', '(00)952012345678912345(02)09520123456788(37)25(10)ABC', '952012345678912345'],
    ['gln', '4149520123456788', '9520123456788'],
    ['gln', '(417)9520123456788', '9520123456788'],
    ['gln', '414952012345678825432a/b', '(414)9520123456788(254)32a/b'],
    ['gln', '(414)9520123456788(254)0', '9520123456788'],
  ])('reads as %s %j', (type, raw, value) => {
    expect(normalisersByType[type]('own', raw)).toEqual(accepted('own', value));
    expect(normaliseGs1('gs1', raw)).toEqual(accepted(type, value));
  });

  it('takes bare digits under gs1 by their number: 18 an SSCC, 8, 12, 13 and 14 a GTIN, a GLN among them', () => {
    expect(normaliseGs1('gs1', '952012345678912345')).toEqual(accepted('sscc', '952012345678912345'));
    for (const gtin of ['96385074', '614141123452', '4006381333931', '10614141123459']) {
      expect(normaliseGs1('gs1', gtin)).toEqual(accepted('gtin', gtin.padStart(14, '0')));
    }
    expect(normaliseGln('gln', '4006381333931')).toEqual(accepted('gln', '4006381333931'));
    expect(normaliseSscc('sscc', '952012345678912345')).toEqual(accepted('sscc', '952012345678912345'));
  });

  it.each([
    ['an unknown element', '(01)09520123456788(29)1'],
    ['an unknown element without brackets', '0109520123456788291'],
    ['one measure with six decimals', '01095201234567883106000195'],
    ['a key that is not of these', '(8004)9520614141234567'],
    ['another key with a GTIN in its query', 'https://example.com/8004/9520614141234567?01=9520123456788'],
    ['two keys', '(01)09520123456788(00)952012345678912345'],
    ['a place and a party', '(414)9520123456788(417)9520123456788'],
    ['two serials', '(01)09520123456788(21)1(21)2'],
    ['a serial alone', '(21)XYZ'],
    ['a serial of a place', '(414)9520123456788(21)XYZ'],
    ['the extension of a party', '(417)9520123456788(254)1'],
    ['the content of a logistic unit alone', '(02)09520123456788(37)25'],
    ['text in front of the elements', 'x(01)09520123456788'],
    ['two separators', `010952012345678810ABC${separatorOfElements}${separatorOfElements}21XYZ`],
    ['an element without value', `010952012345678810${separatorOfElements}21XYZ`],
    ['an element cut short', '01095201234567881720'],
    ['an unknown symbology', ']X00109520123456788'],
    ['an SSCC of 17 digits', '(00)95201234567891234'],
    ['an SSCC of zeros', '000000000000000000'],
    ['a GLN of zeros', '(414)0000000000000'],
    ['qualifiers out of order', 'https://example.com/01/09520123456788/21/1/10/2'],
    ['a qualifier twice', 'https://example.com/01/09520123456788/21/1/21/1'],
    ['a qualifier of another key', 'https://example.com/00/952012345678912345/21/1'],
    ['a qualifier that is not known', 'https://example.com/01/09520123456788/235/1'],
    ['an extension of a party in a link', 'https://example.com/417/9520123456788/254/1'],
    ['a link without path', 'https://example.com?01=09520123456788'],
    ['an EPC class without lot', 'urn:epc:class:lgtin:4012345.012345'],
    ['an EPC pattern of a company', 'urn:epc:idpat:sgtin:4012345.*.*'],
    ['an EPC pattern of one serial', 'urn:epc:idpat:sgtin:4012345.012345.1'],
    ['an SSCC of an EPC with 16 digits', 'urn:epc:id:sscc:0614141.123456789'],
    ['an SSCC of an EPC with a serial', 'urn:epc:id:sscc:0614141.1234567890.1'],
    ['an SGLN without extension', 'urn:epc:id:sgln:0614141.12345'],
    ['an SGTIN without item reference', 'urn:epc:id:sgtin:061414112345..1'],
    ['an EPC of another scheme', 'urn:epc:id:grai:0614141.12345.400'],
    ['a lot of 21 characters', `urn:epc:class:lgtin:4012345.012345.${'a'.repeat(21)}`],
    ['an extension that reads like a further element', 'urn:epc:id:sgln:0614141.12345.a(21)b'],
  ])('refuses %s under every type', (_, raw) => {
    for (const normalise of [normaliseGs1, ...Object.values(normalisersByType)]) {
      expect(normalise('any', raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
    }
  });

  it.each<[KeyType, string]>([
    ['gtin', '(01)09520123456788'],
    ['gln', '(414)9520123456788'],
    ['sscc', '(00)952012345678912345'],
    ['sgtin', '(01)09520123456788(21)XYZ'],
    ['sgtin', '(01)09520123456788(10)ABC(21)XYZ'],
    ['lgtin', '(01)09520123456788(10)ABC'],
  ])('says that a key is of type %s when another type is claimed: %s', (type, raw) => {
    for (const other of keyTypes.filter((one) => one !== type)) {
      expect(normalisersByType[other](other, raw)).toEqual({
        ok: false,
        code: 'invalid_identifier',
        detail: `This is the key of type ${type}, not ${other}; send it as ${type}.`,
      });
    }
  });

  it('gives one value for every form of a random key, and for that value again', () => {
    fc.assert(
      fc.property(anyKey, ({ type, value, forms }) => {
        for (const raw of forms) {
          expect(normaliseGs1('gs1', raw)).toEqual(accepted(type, value));
          expect(normalisersByType[type](type, raw)).toEqual(accepted(type, value));
        }
        expect(normalisersByType[type](type, value)).toEqual(accepted(type, value));
      }),
    );
  });

  it('refuses every other check digit in all forms that show it', () => {
    fc.assert(
      fc.property(anyKey, fc.integer({ min: 1, max: 9 }), ({ number, type, forms }, by) => {
        const changed = number.slice(0, -1) + ((Number(number.at(-1)) + by) % 10);
        for (const raw of forms.filter((form) => form.includes(number))) {
          const wrong = raw.replace(number, changed);
          expect(normaliseGs1('gs1', wrong)).toMatchObject({ ok: false, code: 'wrong_check_digit' });
          expect(normalisersByType[type](type, wrong)).toMatchObject({ ok: false, code: 'wrong_check_digit' });
        }
      }),
    );
  });

  it('gives a value that stays the same, or refuses, for any text', () => {
    fc.assert(
      fc.property(anyText, (raw) => {
        for (const normalise of [normaliseGs1, ...Object.values(normalisersByType)]) {
          const result = normalise('any', raw);
          const type = result.ok && keyTypes.find((one) => one === result.claimType);
          const again = type ? normalisersByType[type] : normalise;
          expect(result.ok ? again(result.claimType, result.value) : result).toEqual(result);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['(01)', '(21)a', '01', '21', '%41', '/01/0', '/', '(', 'a.', '0', `10A${separatorOfElements}`])(
    'ends at once for a text of many %j',
    (part) => {
      const started = performance.now();
      for (const prefix of [
        '',
        'https://a/',
        'urn:epc:id:sgtin:0614141.112345.',
        '0109520123456788',
        '(01)09520123456788',
      ]) {
        normaliseGs1('gs1', prefix + part.repeat(20_000));
      }
      expect(performance.now() - started).toBeLessThan(1000);
    },
  );
});
