/**
 * Resolves the escapes of a URI. Each one is a single ASCII character in a GS1 key, so one at a time is enough and, unlike
 * as UTF-8, never fails; what lies outside of ASCII is in no GS1 character set and is refused later.
 */
export function withoutPercentEncoding(text: string): string {
  return text.replace(/%([0-9A-F]{2})/gi, (_, hexDigits: string) =>
    String.fromCharCode(Number.parseInt(hexDigits, 16)),
  );
}
