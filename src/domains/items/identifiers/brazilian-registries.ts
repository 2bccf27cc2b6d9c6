import { accepted, type NormalisationResult, refused } from './result.ts';

const cpfPattern = /^(?:\d{11}|\d{3}\.\d{3}\.\d{3}-\d{2})$/;
const cnpjPattern = /^(?:[0-9A-Z]{12}\d{2}|[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}\/[0-9A-Z]{4}-\d{2})$/;
const registryPunctuation = /[./-]/g;
const allEqual = /^(.)\1+$/;

const carPattern = /^([A-Z]{2})-((\d{2})\d{5})-([0-9A-F]{32}|[0-9A-F]{4}(?:\.[0-9A-F]{4}){7})$/;
const maskedNirf = /^\d\.\d{3}\.\d{3}-\d$/;
const cibPattern = /^[0-9A-Z]{7}-?[0-9A-Z]$/;
const stateRegistrationSeparators = /[\p{Zs}./-]/gu;
const stateRegistration = /^\d{8,14}$/;
const transitPermit = /^(?=.*\d)[A-Z0-9 ./-]+$/;
const blanks = /\p{Zs}+/gu;

/** The number with which the municipality codes of each state begin (IBGE, Divisão Territorial Brasileira). */
const stateNumbers = new Map(
  [
    'RO11 AC12 AM13 RR14 PA15 AP16 TO17',
    'MA21 PI22 CE23 RN24 PB25 PE26 AL27 SE28 BA29',
    'MG31 ES32 RJ33 SP35',
    'PR41 SC42 RS43',
    'MS50 MT51 GO52 DF53',
  ]
    .flatMap((region) => region.split(' '))
    .map((state) => [state.slice(0, 2), state.slice(2)] as const),
);

/**
 * A person's number at the Receita Federal: eleven digits, bare or as `529.982.247-25`, the last two by modulo 11. Eleven
 * equal digits pass that sum, but are never given.
 */
export function normaliseCpf(claimType: string, raw: string): NormalisationResult {
  const text = raw.trim();
  const digits = text.replace(registryPunctuation, '');
  if (!cpfPattern.test(text) || allEqual.test(digits)) {
    return refused('invalid_identifier', 'A CPF is 11 digits, not all equal, bare or as 000.000.000-00.');
  }
  return judgedByCheckDigits(claimType, digits, 11);
}

/**
 * A company's number at the Receita Federal: twelve digits or letters and two check digits, bare or as
 * `12.ABC.345/01DE-35`. In the sum by modulo 11 a character counts as its ASCII code less 48 (Instrução Normativa RFB
 * 2.229/2024, given out from July 2026); for numbers with digits only that is the older rule.
 */
export function normaliseCnpj(claimType: string, raw: string): NormalisationResult {
  const text = raw.trim().toUpperCase();
  const characters = text.replace(registryPunctuation, '');
  if (!cnpjPattern.test(text) || allEqual.test(characters)) {
    return refused(
      'invalid_identifier',
      'A CNPJ is 12 digits or letters and 2 check digits, not all equal, bare or as 00.000.000/0000-00.',
    );
  }
  return judgedByCheckDigits(claimType, characters, 9);
}

/**
 * A rural property in the Cadastro Ambiental Rural (SICAR, Decreto 7.830/2012): state, IBGE municipality code and 32 hex
 * digits, the last often in dotted groups of four, which are left out here.
 */
export function normaliseCar(claimType: string, raw: string): NormalisationResult {
  const match = carPattern.exec(raw.trim().toUpperCase());
  if (!match) {
    return refused(
      'invalid_identifier',
      'A CAR number is a state, a 7-digit IBGE code and 32 hex digits, with dashes between.',
    );
  }
  const [, state = '', municipality = '', stateNumber = '', hexDigits = ''] = match;
  if (stateNumbers.get(state) !== stateNumber) {
    return refused('invalid_identifier', 'The IBGE code of this CAR number does not belong to its state.');
  }
  return accepted(claimType, `${state}-${municipality}-${hexDigits.replaceAll('.', '')}`);
}

/**
 * A rural property at the Receita Federal: the eight digits of a NIRF, bare or as `1.234.567-8`, or a code of the Cadastro
 * Imobiliário Brasileiro that took its place (Instrução Normativa RFB 2.030/2021), `XXXXXXX-X` in the base 32 of Douglas
 * Crockford. That base reads I and L as 1 and O as 0 and has no U.
 */
export function normaliseNirf(claimType: string, raw: string): NormalisationResult {
  const text = raw.trim().toUpperCase();
  const value = text.replace(registryPunctuation, '').replace(/[IL]/g, '1').replace(/O/g, '0');
  if ((!maskedNirf.test(text) && !cibPattern.test(text)) || value.includes('U')) {
    return refused('invalid_identifier', 'A NIRF is 8 digits, bare or as 0.000.000-0; a CIB is XXXXXXX-X without U.');
  }
  return accepted(claimType, value);
}

/**
 * A taxpayer of a state. Each state has its own length and check digits (SINTEGRA); here only what all have in common
 * counts: 8 to 14 digits. The word ISENTO, which stands for an exempt party, names nobody.
 */
export function normaliseStateRegistration(claimType: string, raw: string): NormalisationResult {
  const digits = raw.replace(stateRegistrationSeparators, '');
  if (!stateRegistration.test(digits)) {
    return refused('invalid_identifier', 'A state registration is 8 to 14 digits; an exempt party has none.');
  }
  return accepted(claimType, digits);
}

/**
 * A permit to move animals (Guia de Trânsito Animal, Ministério da Agricultura, Instrução Normativa 18/2006): a number
 * with a series and often the state, which people write in many ways.
 */
export function normaliseTransitPermit(claimType: string, raw: string): NormalisationResult {
  const text = raw.replace(blanks, ' ').trim().toUpperCase();
  if (!transitPermit.test(text)) {
    return refused('invalid_identifier', 'A GTA is letters A to Z and digits, at least one of them a digit.');
  }
  return accepted(claimType, text);
}

function judgedByCheckDigits(claimType: string, value: string, largestWeight: number): NormalisationResult {
  const first = moduloElevenDigit(value.slice(0, -2), largestWeight);
  const second = moduloElevenDigit(value.slice(0, -2) + first, largestWeight);
  if (!value.endsWith(`${first}${second}`)) {
    return refused('wrong_check_digit', 'The last two digits do not follow from the others.');
  }
  return accepted(claimType, value);
}

/** Weights run 2, 3, … from the right and start again after the largest; a remainder of 10 or 11 counts as 0. */
function moduloElevenDigit(characters: string, largestWeight: number): number {
  let sum = 0;
  let weight = 2;
  for (let index = characters.length - 1; index >= 0; index -= 1) {
    sum += (characters.charCodeAt(index) - 48) * weight;
    weight = weight === largestWeight ? 2 : weight + 1;
  }
  const remainder = sum % 11;
  return remainder < 2 ? 0 : 11 - remainder;
}
