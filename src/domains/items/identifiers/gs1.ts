import { hasRightCheckDigit } from './gs1-check-digit.ts';
import { readDigitalLink } from './gs1-digital-link.ts';
import { type Gs1Elements, holdsBracketedIdentifier, readElementString } from './gs1-elements.ts';
import { readEpcUri } from './gs1-epc-uri.ts';
import { accepted, type NormalisationResult, refused } from './result.ts';

type Gs1KeyType = 'gtin' | 'gln' | 'sscc' | 'sgtin' | 'lgtin';

/** `number` is the part with the check digit, `value` the canonical form, `secondPart` what follows the number in it. */
interface Gs1Key {
  type: Gs1KeyType;
  number: string;
  value: string;
  secondPart?: string;
}

/**
 * What a scanner sends in front of the text (GS1 General Specifications, section 5.1; ISO/IEC 15424): C1, d2, Q3, e0 and J1
 * before element strings, E0, E4 and I1 before the digits of a GTIN, d1 and Q1 before a Digital Link.
 */
const symbologyIdentifier = /^\](?:C1|d[12]|Q[13]|e0|J1|E[04]|I1)/;
const gtinLength = 14;

/** The kinds of key that are also written as digits alone. */
const bareDigits: Readonly<Partial<Record<Gs1KeyType, (digits: string) => Gs1Elements | undefined>>> = {
  gtin: (text) => (/^(?:\d{8}|\d{12,14})$/.test(text) ? new Map([['01', text.padStart(gtinLength, '0')]]) : undefined),
  gln: (text) => (/^\d{13}$/.test(text) ? new Map([['414', text]]) : undefined),
  sscc: (text) => (/^\d{18}$/.test(text) ? new Map([['00', text]]) : undefined),
};

const otherForms = 'or the same as element string, EPC URI or GS1 Digital Link';
const descriptions: Readonly<Record<Gs1KeyType, string>> = {
  gtin: `A GTIN is 8, 12, 13 or 14 digits, not all zero, ${otherForms}.`,
  gln: `A GLN is 13 digits, not all zero, ${otherForms}; an extension has 1 to 20 characters of GS1 set 82.`,
  sscc: `An SSCC is 18 digits, not all zero, ${otherForms}.`,
  sgtin: `An SGTIN is (01) GTIN-14 (21) serial, ${otherForms}; the serial has 1 to 20 characters of GS1 set 82.`,
  lgtin: `An LGTIN is (01) GTIN-14 (10) lot, ${otherForms}; the lot has 1 to 20 characters of GS1 set 82.`,
};

/**
 * A GTIN-8, -12, -13 or -14 (GS1 General Specifications, section 3.3): 14 digits, shorter ones filled with zeros, which is
 * the same number. Also read from an element string, the EPC pattern of its SGTINs and a Digital Link.
 */
export function normaliseGtin(claimType: string, raw: string): NormalisationResult {
  return normaliseKey('gtin', claimType, raw);
}

/**
 * A place or a party (GS1 General Specifications, section 3.7): 13 digits from AI (414) or (417), an SGLN or PGLN, a
 * Digital Link. With an extension, AI (254), it is a place of its own: `(414)` GLN `(254)` extension. The extension 0 means
 * none (EPC Tag Data Standard, section 6.3.3).
 */
export function normaliseGln(claimType: string, raw: string): NormalisationResult {
  return normaliseKey('gln', claimType, raw);
}

/** A logistic unit (GS1 General Specifications, section 3.3, AI (00)): 18 digits. */
export function normaliseSscc(claimType: string, raw: string): NormalisationResult {
  return normaliseKey('sscc', claimType, raw);
}

/**
 * One trade item: a GTIN with a serial number (GS1 General Specifications, AIs (01) and (21)). All forms of one key give
 * `(01)` GTIN-14 `(21)` serial. A lot beside the serial describes the item and does not tell it apart.
 */
export function normaliseSgtin(claimType: string, raw: string): NormalisationResult {
  return normaliseKey('sgtin', claimType, raw);
}

/**
 * A lot of a trade item: a GTIN with a batch or lot number (GS1 General Specifications, AIs (01) and (10); EPC Tag Data
 * Standard, class LGTIN). All forms of one key give `(01)` GTIN-14 `(10)` lot.
 */
export function normaliseLgtin(claimType: string, raw: string): NormalisationResult {
  return normaliseKey('lgtin', claimType, raw);
}

/**
 * Any form of any of these keys; answers under the type of the key that it finds: gtin, gln, sscc, sgtin or lgtin. 18 bare
 * digits are an SSCC, 8, 12, 13 or 14 a GTIN. A GLN alone looks like a GTIN-13, and so is taken for one: it needs the type
 * gln, or a form that names it, such as `(414)`.
 */
export function normaliseGs1(_: string, raw: string): NormalisationResult {
  const key = readKey(raw, ['gtin', 'sscc']);
  if (!key) {
    return refused(
      'invalid_identifier',
      'This is no GTIN, GLN, SSCC, SGTIN or LGTIN as digits, element string, EPC URI or GS1 Digital Link.',
    );
  }
  return acceptKey(key.type, key);
}

function normaliseKey(expected: Gs1KeyType, claimType: string, raw: string): NormalisationResult {
  const key = readKey(raw, [expected]);
  if (!key) return refused('invalid_identifier', descriptions[expected]);
  if (key.type !== expected) {
    const detail = `This is the key of type ${key.type}, not ${expected}; send it as ${key.type}.`;
    return refused('invalid_identifier', detail);
  }
  return acceptKey(claimType, key);
}

function acceptKey(claimType: string, key: Gs1Key): NormalisationResult {
  // The canonical form has brackets too, and reading it again would take such a part for further elements.
  if (holdsBracketedIdentifier(key.secondPart ?? '')) {
    const detail = 'A serial, lot or extension may not hold two to four digits in brackets, as an element begins.';
    return refused('invalid_identifier', detail);
  }
  return hasRightCheckDigit(key.number)
    ? accepted(claimType, key.value)
    : refused('wrong_check_digit', `The last digit of the ${nameOfNumber(key.type)} does not follow from the others.`);
}

function nameOfNumber(type: Gs1KeyType): string {
  return type === 'gln' || type === 'sscc' ? type.toUpperCase() : 'GTIN';
}

function readKey(raw: string, typesOfBareDigits: readonly Gs1KeyType[]): Gs1Key | undefined {
  const text = raw.trim().replace(symbologyIdentifier, '');
  const elements =
    typesOfBareDigits.map((type) => bareDigits[type]?.(text)).find((found) => found !== undefined) ??
    readElementString(text) ??
    readEpcUri(text) ??
    readDigitalLink(text);
  const key = elements && findKey(elements);
  return key && !/^0+$/.test(key.number) ? key : undefined;
}

/** A string with two keys names neither; a place beside an item or a logistic unit is an attribute of that. */
function findKey(elements: Gs1Elements): Gs1Key | undefined {
  const gtin = elements.get('01');
  const sscc = elements.get('00');
  if (gtin !== undefined) return sscc === undefined ? tradeItemKey(gtin, elements) : undefined;
  return sscc === undefined ? placeKey(elements) : { type: 'sscc', number: sscc, value: sscc };
}

function tradeItemKey(gtin: string, elements: Gs1Elements): Gs1Key {
  const serial = elements.get('21');
  if (serial !== undefined) {
    return { type: 'sgtin', number: gtin, value: `(01)${gtin}(21)${serial}`, secondPart: serial };
  }
  const lot = elements.get('10');
  if (lot !== undefined) return { type: 'lgtin', number: gtin, value: `(01)${gtin}(10)${lot}`, secondPart: lot };
  return { type: 'gtin', number: gtin, value: gtin };
}

function placeKey(elements: Gs1Elements): Gs1Key | undefined {
  const place = elements.get('414');
  const party = elements.get('417');
  const number = place ?? party;
  if (number === undefined || (place !== undefined && party !== undefined)) return undefined;
  const extension = elements.get('254') ?? '0';
  if (extension === '0') return { type: 'gln', number, value: number };
  return { type: 'gln', number, value: `(414)${number}(254)${extension}`, secondPart: extension };
}
