/**
 * The check digit of a GS1 key's other digits (GS1 General Specifications, section 7.9.1): weights 3 and 1 in turn from
 * the right, filled up to a multiple of ten. `body` holds digits only.
 */
export function gs1CheckDigit(body: string): number {
  let sum = 0;
  for (let index = body.length - 1, weight = 3; index >= 0; index -= 1, weight = 4 - weight) {
    sum += (body.charCodeAt(index) - 48) * weight;
  }
  return (10 - (sum % 10)) % 10;
}

/** Whether the last digit of a GS1 key follows from the others. `digits` holds digits only. */
export function hasRightCheckDigit(digits: string): boolean {
  return digits.endsWith(String(gs1CheckDigit(digits.slice(0, -1))));
}
