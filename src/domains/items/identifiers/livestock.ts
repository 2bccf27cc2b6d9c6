import { accepted, type NormalisationResult, refused } from './result.ts';

const separators = /[\p{Zs}./-]/gu;
const fifteenDigits = /^(\d{3})\d{12}$/;
// Without the flag u, only these four letters are read as BR, none whose upper case they are in another script.
const brazilAndTwelveDigits = /^BR(\d{12})$/i;

/** The type that a number becomes which begins with Brazil's country code, sent as SISBOV number or as transponder. */
const officialTransponder = 'official_transponder';
/** The types that the numbers of transponders turn out to be of. */
export const transponderTypes: readonly string[] = ['chip', officialTransponder];
/** ISO 3166-1 numeric code of Brazil, with which ISO 11784 transponders of the official programme begin. */
const brazilianCountryCode = '076';
/** Not a country: the prefix of SISBOV numbers when they are written as fifteen digits. */
const sisbovPrefix = '105';
/** ISO 11784 gives 900 to 998 to manufacturers and keeps 999 for tests. */
const firstManufacturerCode = 900;
const testCode = 999;

/**
 * A number of SISBOV, the Brazilian register of cattle and buffalo (Ministério da Agricultura, Instrução Normativa
 * 17/2006): `BR` and twelve digits, or 105 and the same twelve. Since Instrução Normativa 51/2018 (article 4) it is 076 and
 * twelve digits, which is the number of the transponder too. What people send under this name is often that number, and is
 * compared as that. The check digit inside the twelve does not decide.
 */
export function normaliseSisbov(raw: string): NormalisationResult {
  const compact = compacted(raw);
  const withCountry = brazilAndTwelveDigits.exec(compact);
  if (withCountry) return accepted('sisbov', `${sisbovPrefix}${withCountry[1]}`);
  const prefix = fifteenDigits.exec(compact)?.[1];
  if (prefix === sisbovPrefix) return accepted('sisbov', compact);
  const isTransponder = prefix === brazilianCountryCode || Number(prefix) >= firstManufacturerCode;
  if (isTransponder) return normaliseTransponder(compact);
  return refused(
    'invalid_identifier',
    'A SISBOV number is BR and 12 digits, or 15 digits that begin with 105, 076 or a manufacturer code (900 to 998).',
  );
}

/**
 * The number of an animal's transponder (ISO 11784): fifteen digits, the first three a country (ISO 3166-1 numeric) or a
 * manufacturer. Brazilian ones are compared under a name of their own, since they are sent as SISBOV numbers too.
 */
export function normaliseTransponder(raw: string): NormalisationResult {
  const compact = compacted(raw);
  const prefix = fifteenDigits.exec(compact)?.[1];
  if (prefix === undefined || prefix === '000') {
    return refused(
      'invalid_identifier',
      'A transponder number is 15 digits that begin with a country code or a manufacturer code (001 to 998).',
    );
  }
  if (Number(prefix) === testCode) {
    return refused('invalid_identifier', 'The code 999 marks test transponders, whose numbers are not unique.');
  }
  return accepted(prefix === brazilianCountryCode ? officialTransponder : 'chip', compact);
}

function compacted(raw: string): string {
  return raw.replace(separators, '');
}
