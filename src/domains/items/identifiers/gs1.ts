import { accepted, type NormalisationResult, refused } from './result.ts';

const gtinText = /^(?:\d{8}|\d{12,14})$/;
const bracketedGtin = /^\(01\)(\d{14})$/;

const bracketedElements = /^\(01\)(\d{14})\(21\)(.+)$/;
const plainElements = /^01(\d{14})21(.+)$/;
const epcUri = /^urn:epc:id:sgtin:(\d{6,12})\.(\d{1,7})\.(.+)$/i;
const digitalLink =
  /^https?:\/\/[^/?#]+(?:\/[^?#]*)?\/01\/(\d{8}|\d{12,14})(?:\/22\/[^/?#]+)?(?:\/10\/[^/?#]+)?\/21\/([^/?#]+)(?:[?#].*)?$/i;

/** GS1 AI encodable character set 82 (GS1 General Specifications, section 7.11), up to the 20 that AI (21) holds. */
const serialText = /^[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]{1,20}$/;
/** What may stand unescaped in the serial of an EPC URI (EPC Tag Data Standard, GS3A3Component). */
const epcSerialText = /^(?:[!'()*+,\-.0-9:;=A-Z_a-z]|%[0-9A-Fa-f]{2})+$/;
/** A segment of a URI's path (RFC 3986, pchar). */
const pathSegment = /^(?:[!$&'()*+,\-.0-9:;=@A-Z_a-z~]|%[0-9A-Fa-f]{2})+$/;
const applicationIdentifier = /\(\d{2,4}\)/;

const gtinLength = 14;
/** Company prefix and item reference of an EPC together, the indicator digit included. */
const epcDigits = 13;

interface SerialisedGtin {
  gtin: string;
  serial: string;
}

/**
 * A GTIN-8, -12, -13 or -14 (GS1 General Specifications, section 3.2), also as the element string `(01)` and 14 digits;
 * shorter ones are filled with zeros to 14, which is the same number. The check digit follows section 7.9.
 */
export function normaliseGtin(claimType: string, raw: string): NormalisationResult {
  const text = raw.trim();
  const digits = bracketedGtin.exec(text)?.[1] ?? text;
  if (!gtinText.test(digits) || /^0+$/.test(digits)) {
    return refused('invalid_identifier', 'A GTIN is 8, 12, 13 or 14 digits, not all zero.');
  }
  const gtin = digits.padStart(gtinLength, '0');
  return hasRightCheckDigit(gtin) ? accepted(claimType, gtin) : wrongCheckDigit();
}

/**
 * One trade item: a GTIN with a serial number. Understood are the element string with and without brackets (GS1 General
 * Specifications, AIs (01) and (21)), the pure identity EPC URI (EPC Tag Data Standard, section 6.3.1) and a GS1 Digital
 * Link URI of any host; all forms of one key give `(01)` GTIN-14 `(21)` serial.
 */
export function normaliseSgtin(claimType: string, raw: string): NormalisationResult {
  const key = readSerialisedGtin(raw.trim());
  if (!key || /^0+$/.test(key.gtin) || !serialText.test(key.serial)) {
    return refused(
      'invalid_identifier',
      'An SGTIN is (01) GTIN-14 (21) serial, an EPC URI or a GS1 Digital Link; the serial has 1 to 20 characters of GS1 set 82.',
    );
  }
  // Scanners print further elements in the same brackets, so such a serial could not be told from what follows it.
  if (applicationIdentifier.test(key.serial)) {
    return refused(
      'invalid_identifier',
      'An SGTIN ends with its serial; no further application identifier may follow.',
    );
  }
  return hasRightCheckDigit(key.gtin) ? accepted(claimType, `(01)${key.gtin}(21)${key.serial}`) : wrongCheckDigit();
}

function readSerialisedGtin(text: string): SerialisedGtin | undefined {
  const elements = bracketedElements.exec(text) ?? plainElements.exec(text);
  if (!elements) return readEpcUri(text) ?? readDigitalLink(text);
  const [, gtin = '', serial = ''] = elements;
  return { gtin, serial };
}

/** The item reference of an EPC begins with the indicator digit, which a GTIN has in front; the check digit is left out. */
function readEpcUri(text: string): SerialisedGtin | undefined {
  const match = epcUri.exec(text);
  if (!match) return undefined;
  const [, company = '', itemReference = '', escapedSerial = ''] = match;
  if (company.length + itemReference.length !== epcDigits || !epcSerialText.test(escapedSerial)) return undefined;
  const body = itemReference.charAt(0) + company + itemReference.slice(1);
  return { gtin: body + gtinCheckDigit(body), serial: unescaped(escapedSerial) };
}

/** Variant (22) and lot (10) may stand between GTIN and serial; they describe the item and do not tell it apart. */
function readDigitalLink(text: string): SerialisedGtin | undefined {
  const match = digitalLink.exec(text);
  if (!match) return undefined;
  const [, gtin = '', escapedSerial = ''] = match;
  if (!pathSegment.test(escapedSerial)) return undefined;
  return { gtin: gtin.padStart(gtinLength, '0'), serial: unescaped(escapedSerial) };
}

/** Each escape is one ASCII character here, so one at a time is enough and, unlike as UTF-8, never fails. */
function unescaped(text: string): string {
  return text.replace(/%([0-9A-F]{2})/gi, (_, hexDigits: string) =>
    String.fromCharCode(Number.parseInt(hexDigits, 16)),
  );
}

function hasRightCheckDigit(gtin: string): boolean {
  return gtin.endsWith(String(gtinCheckDigit(gtin.slice(0, -1))));
}

/** Weights 3 and 1 in turn from the right, filled up to a multiple of ten. */
function gtinCheckDigit(body: string): number {
  let sum = 0;
  for (let index = body.length - 1, weight = 3; index >= 0; index -= 1, weight = 4 - weight) {
    sum += (body.charCodeAt(index) - 48) * weight;
  }
  return (10 - (sum % 10)) % 10;
}

function wrongCheckDigit(): NormalisationResult {
  return refused('wrong_check_digit', 'The last digit of the GTIN does not follow from the others.');
}
