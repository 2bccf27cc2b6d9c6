import { foldName } from './fold-name.ts';
import type { IdentifierType, NormaliserName } from './identifier-types.ts';
import {
  normaliseCar,
  normaliseCnpj,
  normaliseCpf,
  normaliseNirf,
  normaliseStateRegistration,
  normaliseTransitPermit,
} from './identifiers/brazilian-registries.ts';
import { normaliseCropSeason } from './identifiers/crop-season.ts';
import { normaliseFreeText } from './identifiers/free-text.ts';
import {
  normaliseGln,
  normaliseGs1,
  normaliseGtin,
  normaliseLgtin,
  normaliseSgtin,
  normaliseSscc,
} from './identifiers/gs1.ts';
import { normaliseSisbov, normaliseTransponder, transponderTypes } from './identifiers/livestock.ts';
import { type NormalisationResult, refused } from './identifiers/result.ts';

const longestIdentifier = 256;
const longestUnknownTypeName = 64;

const blankText = /^\s*$/u;
// C0, DEL and C1, and the marks that turn the direction of writing and so make a value look like another one.
const controlCharacter = /[\p{Cc}\p{Bidi_Control}]/u;
// Zero-width and other characters that are not shown; some scripts need them, numbers do not.
const invisibleCharacter = /\p{Default_Ignorable_Code_Point}/u;
/** Those of names that people give in any script. */
const areNames: ReadonlySet<NormaliserName> = new Set(['crop_season', 'free_text']);
const scientificNotation = /^[+-]?\d+(?:[.,]\d+)?E\+\d{1,3}$/i;

const normalisers: Readonly<Record<NormaliserName, (claimType: string, raw: string) => NormalisationResult>> = {
  sisbov: (_, raw) => normaliseSisbov(raw),
  transponder: (_, raw) => normaliseTransponder(raw),
  cpf: normaliseCpf,
  cnpj: normaliseCnpj,
  ie: normaliseStateRegistration,
  car: normaliseCar,
  nirf: normaliseNirf,
  gta: normaliseTransitPermit,
  gtin: normaliseGtin,
  gln: normaliseGln,
  sscc: normaliseSscc,
  sgtin: normaliseSgtin,
  lgtin: normaliseLgtin,
  gs1: normaliseGs1,
  crop_season: normaliseCropSeason,
  free_text: normaliseFreeText,
};

/** The types that values of these turn out to be of, beside the type they were sent as. */
const typesOfResults: Readonly<Partial<Record<NormaliserName, readonly string[]>>> = {
  sisbov: ['sisbov', ...transponderTypes],
  transponder: transponderTypes,
  gs1: ['gtin', 'gln', 'sscc', 'sgtin', 'lgtin'],
};

/** The claim types that values sent as a type can have. */
export function claimTypesOf({ name, normaliser }: Pick<IdentifierType, 'name' | 'normaliser'>): string[] {
  return [name, ...(typesOfResults[normaliser] ?? [])];
}

/** Those whose values scanners send with ASCII 29 between their elements (GS1 General Specifications, section 7.8). */
const gs1Normalisers: ReadonlySet<NormaliserName> = new Set(['gtin', 'gln', 'sscc', 'sgtin', 'lgtin', 'gs1']);
const elementSeparator = '\u001D';

/**
 * Brings an identifier to the one form in which it is compared, or says why it cannot be taken. `type` is undefined for a
 * type that the table does not know: such an identifier is kept as free text under its folded name. Normalising a result
 * again under the type it names gives the same. Never throws.
 */
export function normaliseIdentifier(
  type: IdentifierType | undefined,
  typeNameAsSent: string,
  raw: string,
): NormalisationResult {
  const normaliser = type?.normaliser ?? 'free_text';
  const claimType = type?.name ?? unknownTypeName(typeNameAsSent);
  if (claimType === undefined) {
    const detail = 'The name of a type is 1 to 64 characters, none of them a control character.';
    return { ok: false, code: 'invalid_identifier', detail, isOfTypeName: true };
  }
  const refusal = refusalOfText(raw, normaliser);
  if (refusal) return refusal;
  const result = normalisers[normaliser](claimType, raw);
  // Upper case and normal form can make a text longer.
  return result.ok && result.value.length > longestIdentifier ? tooLong() : result;
}

function unknownTypeName(nameAsSent: string): string | undefined {
  if (nameAsSent.length > longestIdentifier || !nameAsSent.isWellFormed()) return undefined;
  const name = foldName(nameAsSent);
  const isUsable = name.length <= longestUnknownTypeName && !blankText.test(name) && !controlCharacter.test(name);
  return isUsable ? name : undefined;
}

/** What no identifier may be, whatever its type; checked in an order that bounds the work on hostile input. */
function refusalOfText(raw: string, normaliser: NormaliserName): NormalisationResult | undefined {
  if (raw.length > longestIdentifier) return tooLong();
  const text = gs1Normalisers.has(normaliser) ? raw.replaceAll(elementSeparator, '') : raw;
  if (blankText.test(text)) return refused('blank_identifier', 'The identifier is blank.');
  if (!text.isWellFormed()) return refused('invalid_identifier', 'The identifier holds half of a surrogate pair.');
  if (controlCharacter.test(text) || (!areNames.has(normaliser) && invisibleCharacter.test(text))) {
    return refused('control_character', 'The identifier holds a control character or one that is not shown.');
  }
  if (scientificNotation.test(text.trim())) {
    return refused(
      'spreadsheet_damage',
      'A spreadsheet has turned this identifier into a rounded number; format the column as text and export it again.',
    );
  }
  return undefined;
}

function tooLong(): NormalisationResult {
  return refused('identifier_too_long', 'An identifier has at most 256 characters.');
}
