import { collectElements, type Gs1Element, type Gs1Elements } from './gs1-elements.ts';
import { withoutPercentEncoding } from './gs1-percent-encoding.ts';

const webUri = /^https?:\/\/[^/?#]+(\/[^?#]*)/i;
/** A segment of a URI's path (RFC 3986, pchar). */
const pathSegment = /^(?:[!$&'()*+,\-.0-9:;=@A-Z_a-z~]|%[0-9A-Fa-f]{2})+$/;
const gtinOfAnyLength = /^(?:\d{8}|\d{12,14})$/;
const gtinLength = 14;

/** Which qualifiers may follow a key, in the one order that is allowed (GS1 Digital Link: URI Syntax, grammar). */
const qualifiersOfKeys: ReadonlyMap<string, readonly string[]> = new Map([
  ['00', []],
  ['01', ['22', '10', '21']],
  ['414', ['254']],
  ['417', []],
]);
const qualifiers = new Set(Array.from(qualifiersOfKeys.values()).flat());

/**
 * Reads an uncompressed GS1 Digital Link URI of any host and stem as the elements of its path (GS1 Digital Link Standard:
 * URI Syntax 1.4.1, formal grammar). GTINs may be shorter than 14 digits, as release 1.0 allowed. Query and fragment are
 * attributes and never read; nor is a variant, or a lot beside a serial, which does not tell the item apart. Undefined if
 * the text is no such URI.
 */
export function readDigitalLink(text: string): Gs1Elements | undefined {
  const path = webUri.exec(text)?.[1];
  // A trailing slash, which browsers and servers add, names nothing.
  const pairs = path === undefined ? undefined : readPairs(path.replace(/\/$/, '').split('/').slice(1));
  return pairs && collectElements(withoutDescriptions(pairs).map(readPair));
}

/** A stem may look like a key too, so the last key counts, counted in pairs from the end. */
function readPairs(segments: string[]): Gs1Element[] | undefined {
  const found: Gs1Element[] = [];
  for (let index = segments.length - 2; index >= 0; index -= 2) {
    const name = segments[index] ?? '';
    const value = segments[index + 1] ?? '';
    if (!pathSegment.test(value)) return undefined;
    const allowed = qualifiersOfKeys.get(name);
    if (allowed) return isInOrder(found, allowed) ? [[name, value], ...found] : undefined;
    if (!qualifiers.has(name)) return undefined;
    found.unshift([name, value]);
  }
  return undefined;
}

function isInOrder(found: readonly Gs1Element[], allowed: readonly string[]): boolean {
  const places = found.map(([name]) => allowed.indexOf(name));
  return places.every((place, index) => place > (places[index - 1] ?? -1));
}

function withoutDescriptions(pairs: readonly Gs1Element[]): readonly Gs1Element[] {
  const hasSerial = pairs.some(([name]) => name === '21');
  return pairs.filter(([name]) => name !== '22' && !(name === '10' && hasSerial));
}

function readPair([applicationIdentifier, escaped]: Gs1Element): Gs1Element {
  const value = withoutPercentEncoding(escaped);
  const isShortGtin = applicationIdentifier === '01' && gtinOfAnyLength.test(value);
  return [applicationIdentifier, isShortGtin ? value.padStart(gtinLength, '0') : value];
}
