import { accepted, type NormalisationResult, refused } from './result.ts';

const separators = /[\p{Zs}./-]/gu;
const fifteenDigits = /^(\d{3})\d{12}$/;
const brazilAndTwelveDigits = /^BR(\d{12})$/;

/** ISO 3166-1 numeric code of Brazil, with which ISO 11784 transponders of the official programme begin. */
const brazilianCountryCode = '076';
/** Not a country: the prefix of SISBOV numbers when they are written as fifteen digits. */
const sisbovPrefix = '105';
/** ISO 11784 gives 900 to 998 to manufacturers and keeps 999 for tests. */
const firstManufacturerCode = 900;
const testCode = 999;

/**
 * A number of SISBOV, the Brazilian register of cattle and buffalo (Ministério da Agricultura, Instrução Normativa
 * 17/2006): `BR` and twelve digits, or 105 and the same twelve. What people send under this name is often the number of
 * the transponder instead, and is compared as that. The check digit inside the twelve does not decide.
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
  return accepted(prefix === brazilianCountryCode ? 'official_transponder' : 'chip', compact);
}

function compacted(raw: string): string {
  return raw.replace(separators, '').toUpperCase();
}
