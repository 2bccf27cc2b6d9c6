/**
 * Whether a JSON number survives being read as a double (RFC 7493 section 2.2): its decimal value equals, exactly,
 * that of the shortest text for the nearest double (ECMA-262 Number::toString, the form RFC 8785 writes), and if it
 * is an integer, in whatever notation, it lies within ±(2^53 − 1).
 *
 * `0.1`, `450.70`, `1.0`, `1e2`, `-0` survive; `1e400`, `1e-400`, `9007199254740993`, `1e20` do not.
 * `token` is a number by the grammar of RFC 8259; for other texts the answer means nothing.
 */
export function isInteroperableNumber(token: string): boolean {
  const value = Number(token);
  if (!Number.isFinite(value)) return false;
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) return false;
  const shortest = String(value);
  return shortest === token || decimalForm(shortest) === decimalForm(token);
}

/** One text per decimal value, the sign left out: `0.` is understood before the digits, `450.70` is `4507e3`. */
function decimalForm(token: string): string {
  const mark = Math.max(token.indexOf('e'), token.indexOf('E'));
  const mantissa = token.slice(token.startsWith('-') ? 1 : 0, mark < 0 ? token.length : mark);
  const point = mantissa.indexOf('.');
  const digits = point < 0 ? mantissa : mantissa.slice(0, point) + mantissa.slice(point + 1);
  // Loops, not /0+$/, which takes quadratic time on a long run of zeros followed by another digit.
  let first = 0;
  while (first < digits.length && digits[first] === '0') first += 1;
  let end = digits.length;
  while (end > first && digits[end - 1] === '0') end -= 1;
  if (first === end) return '0';
  const pointBeforeExponent = (point < 0 ? digits.length : point) - first;
  const exponent = mark < 0 ? 0 : Number(token.slice(mark + 1));
  return `${digits.slice(first, end)}e${pointBeforeExponent + exponent}`;
}
