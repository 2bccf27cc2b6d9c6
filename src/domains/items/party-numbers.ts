import { normaliseCnpj, normaliseCpf } from './identifiers/brazilian-registries.ts';

/** Eleven digits, whatever stands between them, with no further digit beside. */
const cpfLike = /(?<![0-9])[0-9](?:[\s./-]{0,3}[0-9]){10}(?![0-9])/g;
/** Twelve letters or digits and two digits, in one word or in the groups of a CNPJ. */
const cnpjLike =
  /(?<![0-9A-Za-z])[0-9A-Za-z]{2}[\s./-]{0,3}[0-9A-Za-z]{3}[\s./-]{0,3}[0-9A-Za-z]{3}[\s./-]{0,3}[0-9A-Za-z]{4}[\s./-]{0,3}[0-9]{2}(?![0-9A-Za-z])/g;
const punctuation = /[\s./-]/g;

/**
 * Whether a text holds what may be the number of a person or a company (CPF, CNPJ): digits in that number with right check
 * digits, however they are written. One in a hundred other numbers of that length is taken for one.
 */
export function holdsPartyNumber(text: string): boolean {
  // Full-width and other forms of digits are digits to whoever reads them.
  const plain = text.normalize('NFKC');
  return (
    matches(plain, cpfLike).some((found) => normaliseCpf('cpf', found).ok) ||
    matches(plain, cnpjLike).some((found) => normaliseCnpj('cnpj', found).ok)
  );
}

/** All matches, those that begin inside of another too, without what stands between. */
function matches(text: string, pattern: RegExp): string[] {
  const found: string[] = [];
  const searched = new RegExp(pattern);
  for (let match = searched.exec(text); match; match = searched.exec(text)) {
    found.push(match[0].replace(punctuation, ''));
    searched.lastIndex = match.index + 1;
  }
  return found;
}
