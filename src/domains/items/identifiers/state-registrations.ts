import { isValidIe } from '@brazilian-utils/brazilian-utils/is-valid-ie';
import { accepted, type NormalisationResult, refused } from './result.ts';

const states = [
  ...(['AC', 'AL', 'AM', 'AP', 'BA', 'CE', 'DF', 'ES', 'GO', 'MA', 'MG', 'MS', 'MT', 'PA'] as const),
  ...(['PB', 'PE', 'PI', 'PR', 'RJ', 'RN', 'RO', 'RR', 'RS', 'SC', 'SE', 'SP', 'TO'] as const),
];
type State = (typeof states)[number];

// Letters are turned to upper case only after this: other scripts have letters whose upper case is in A to Z.
const allowedText = /^[A-Za-z\d\p{Zs}.:/-]+$/u;
const leadingState = new RegExp(`^(${states.join('|')})(?=P?[^A-Z])`);
const trailingState = new RegExp(`(${states.join('|')})$`);
const separators = /[\p{Zs}.:/-]/gu;
const registration = /^(?:\d{8,14}|P\d{12})$/;
const onlyZeros = /^0+$/;

const shortMatoGrosso = /^13\d{7}$/;
const newerFederalDistrict = /^08\d{11}$/;
const olderPernambuco = /^18\d{12}$/;
const olderPernambucoWeights = [5, 4, 3, 2, 1, 9, 8, 7, 6, 5, 4, 3, 2];

/**
 * A taxpayer of a state, by the length and check digits of that state (SINTEGRA). A value that names its state, before or
 * after the number, is `SP-110042490114`; so is a rural producer of São Paulo, whose number begins with P and is used
 * nowhere else. Without a state it is the bare digits, which must be right for at least one state. The word ISENTO, which
 * stands for an exempt party, names nobody.
 */
export function normaliseStateRegistration(claimType: string, raw: string): NormalisationResult {
  const parts = allowedText.test(raw) ? partsOf(raw.trim().toUpperCase()) : undefined;
  if (!parts || !registration.test(parts.number) || onlyZeros.test(parts.number)) {
    return refused(
      'invalid_identifier',
      'A state registration is 8 to 14 digits, with its state before or after them or without; an exempt party has none.',
    );
  }
  const { state, number } = parts;
  if (!(state ? [state] : states).some((candidate) => isRight(candidate, number))) {
    return refused(
      'wrong_check_digit',
      state
        ? 'The length or the check digits of this registration are not those of its state.'
        : 'The length and the check digits of this registration are those of no state.',
    );
  }
  return accepted(claimType, state ? `${state}-${inFullLength(state, number)}` : number);
}

function partsOf(text: string): { state: State | undefined; number: string } {
  const match = leadingState.exec(text) ?? trailingState.exec(text);
  const named = states.find((state) => state === match?.[1]);
  const rest = match ? text.slice(0, match.index) + text.slice(match.index + match[0].length) : text;
  const number = rest.replace(separators, '');
  return { state: named ?? (number.startsWith('P') ? 'SP' : undefined), number };
}

function isRight(state: State, number: string): boolean {
  // The library knows only the prefix 07 of the Federal District; 08 is given out too, by no published rule.
  if (state === 'DF' && newerFederalDistrict.test(number)) return true;
  // Registrations of Pernambuco from before its present nine digits, which the library leaves out.
  if (state === 'PE' && olderPernambuco.test(number)) return isRightOlderPernambuco(number);
  return isValidIe({ stateCode: state, value: inFullLength(state, number) });
}

/** Mato Grosso's eleven digits are mostly written without the two zeros in front, which its sum does not see. */
function inFullLength(state: State, number: string): string {
  return state === 'MT' && shortMatoGrosso.test(number) ? `00${number}` : number;
}

function isRightOlderPernambuco(number: string): boolean {
  const sum = olderPernambucoWeights.reduce((total, weight, index) => total + weight * Number(number.charAt(index)), 0);
  return Number(number.at(-1)) === (11 - (sum % 11)) % 10;
}
