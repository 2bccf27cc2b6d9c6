import { accepted, type NormalisationResult, refused } from './result.ts';

export { normaliseStateRegistration } from './state-registrations.ts';

const cpfPattern = /^(?:\d{11}|\d{3}\.\d{3}\.\d{3}-\d{2})$/;
const cnpjPattern = /^(?:[0-9A-Z]{12}\d{2}|[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}\/[0-9A-Z]{4}-\d{2})$/;
const registryPunctuation = /[./-]/g;
const allEqual = /^(.)\1+$/;

const carPattern = /^([A-Z]{2})-((\d{2})\d{5})-([0-9A-F]{32}|[0-9A-F]{4}(?:\.[0-9A-F]{4}){7})$/;
const maskedNirf = /^\d\.\d{3}\.\d{3}-\d$/;
const cibPattern = /^[0-9A-Z]{7}-?[0-9A-Z]$/;
const cibWeights = [4, 3, 9, 5, 7, 1, 8];
const cibAlphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const sevenDigits = /^\d{7}/;
const transitPermit = /^(?=.*\d)[A-Z0-9 ./-]+$/;
const seriesPermit = /^([A-Z]{2})[ ./-]*([A-Z])[ ./-]*(\d+)$/;
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
  const text = inUpperCase(raw.trim());
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
  const match = carPattern.exec(inUpperCase(raw.trim()));
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
 * Crockford. That base reads I and L as 1 and O as 0 and has no U. Seven digits are an old NIRF, with its digit by modulo 11
 * (1-9 and 9999999-4 are the first and the last, https://www.gov.br/receitafederal, Identificador do Cafir); with letters
 * among them the check character is the sum by the weights above, modulo 31 (A3N8Z4F-Y).
 */
export function normaliseNirf(claimType: string, raw: string): NormalisationResult {
  const text = inUpperCase(raw.trim());
  const value = text.replace(registryPunctuation, '').replace(/[IL]/g, '1').replace(/O/g, '0');
  if ((!maskedNirf.test(text) && !cibPattern.test(text)) || value.includes('U')) {
    return refused('invalid_identifier', 'A NIRF is 8 digits, bare or as 0.000.000-0; a CIB is XXXXXXX-X without U.');
  }
  if (!value.endsWith(cibCheckCharacter(value.slice(0, -1)))) {
    return refused('wrong_check_digit', 'The last character does not follow from the others.');
  }
  return accepted(claimType, value);
}

/**
 * A permit to move animals (Guia de Trânsito Animal, Ministério da Agricultura, Instrução Normativa 18/2006): a number
 * with a series and often the state, which people write in many ways. Only state, series letter and number in this order
 * are certain to be one permit however they are parted: `SP A 123456`. All else stays as it is.
 */
export function normaliseTransitPermit(claimType: string, raw: string): NormalisationResult {
  const text = inUpperCase(raw.replace(blanks, ' ').trim());
  if (!transitPermit.test(text)) {
    return refused('invalid_identifier', 'A GTA is letters A to Z and digits, at least one of them a digit.');
  }
  const [, state = '', series = '', number = ''] = seriesPermit.exec(text) ?? [];
  return accepted(claimType, stateNumbers.has(state) ? `${state} ${series} ${number}` : text);
}

/** Only a to z: the upper case of some other letters is in A to Z too, and would pass for what was never written. */
function inUpperCase(text: string): string {
  return text.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
}

function cibCheckCharacter(body: string): string {
  if (sevenDigits.test(body)) return String(moduloElevenDigit(body, 8));
  const sum = cibWeights.reduce((total, weight, index) => total + weight * cibAlphabet.indexOf(body.charAt(index)), 0);
  return cibAlphabet.charAt(sum % 31);
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
