const printableAscii = /^[\x20-\x7e]*$/;
// The Latin accents only: in other scripts combining marks are vowels, and names would be mixed up without them.
const accent = /[\u0300-\u036f]/g;
const blank = /\p{Zs}/u;

// Not a regular expression over the whole text, which would take quadratic time on a long run of inner blanks.
function withoutSurroundingBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && blank.test(text.charAt(start))) start += 1;
  while (end > start && blank.test(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/**
 * The form in which two names of an identifier type or of a CSV column are compared: without case, accents and
 * surrounding blanks (`' Código '` → `codigo`). Tabs and other control characters stay, so a name with one matches none.
 */
export function foldName(text: string): string {
  if (printableAscii.test(text)) return withoutSurroundingBlanks(text).toLowerCase();
  return withoutSurroundingBlanks(text.toLowerCase().normalize('NFD').replace(accent, '').normalize('NFC'));
}
