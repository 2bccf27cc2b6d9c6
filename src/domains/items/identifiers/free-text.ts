import { accepted, type NormalisationResult, refused } from './result.ts';

const onlyInvisible = /^[\s\p{Default_Ignorable_Code_Point}]*$/u;
const blanks = /\s+/gu;

/**
 * Names that people give (ear tags, lots, seasons, plots, houses) and values of unknown types: Unicode NFC (UAX #15),
 * without surrounding blanks, inner runs of blanks as one, compared in upper case.
 */
export function normaliseFreeText(claimType: string, raw: string): NormalisationResult {
  if (onlyInvisible.test(raw)) return refused('blank_identifier', 'The identifier has no visible character.');
  const collapsed = raw.normalize('NFC').replace(blanks, ' ').trim();
  // Upper case can leave letters uncomposed, so the form is restored after it.
  return accepted(claimType, collapsed.toUpperCase().normalize('NFC'));
}
