/** Why a value is refused; the codes are those of the error registry. */
export type IdentifierRefusalCode =
  | 'blank_identifier'
  | 'identifier_too_long'
  | 'invalid_identifier'
  | 'wrong_check_digit'
  | 'spreadsheet_damage'
  | 'control_character';

/**
 * An identifier in the one form in which it is compared, or the reason why it has none. `claimType` is the name under
 * which equality is judged; it differs from the type where two registries number the same things. `detail` never repeats
 * the value, which may be personal.
 */
export type NormalisationResult =
  | { ok: true; claimType: string; value: string }
  | { ok: false; code: IdentifierRefusalCode; detail: string; isOfTypeName?: boolean };

/** The result for a value that follows the rules. */
export function accepted(claimType: string, value: string): NormalisationResult {
  return { ok: true, claimType, value };
}

/** The result for a value that breaks a rule. */
export function refused(code: IdentifierRefusalCode, detail: string): NormalisationResult {
  return { ok: false, code, detail };
}
