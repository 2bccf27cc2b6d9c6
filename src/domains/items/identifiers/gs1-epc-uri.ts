import { gs1CheckDigit } from './gs1-check-digit.ts';
import { collectElements, type Gs1Element, type Gs1Elements } from './gs1-elements.ts';
import { withoutPercentEncoding } from './gs1-percent-encoding.ts';

const epcUri =
  /^urn:epc:(id:sgtin|id:sscc|id:sgln|id:pgln|class:lgtin|idpat:sgtin):(\d{6,12})\.(\d{0,11})(?:\.(.+))?$/i;
/** What may stand unescaped in the last part of an EPC URI (EPC Tag Data Standard, GS3A3Component). */
const lastPartText = /^(?:[!'()*+,\-.0-9:;=A-Z_a-z]|%[0-9A-Fa-f]{2})+$/;

/** Digits of company prefix and reference together: those of the key but for its check digit. */
const tradeItemDigits = 13;
const logisticUnitDigits = 17;
const placeDigits = 12;

/**
 * Reads an EPC URI as the elements it stands for (EPC Tag Data Standard, sections 6 to 8): the pure identities SGTIN,
 * SSCC, SGLN and PGLN, the class LGTIN, and the pattern of all SGTINs of one GTIN. Undefined if the text is no such URI.
 */
export function readEpcUri(text: string): Gs1Elements | undefined {
  const match = epcUri.exec(text);
  if (!match) return undefined;
  const [, scheme = '', company = '', reference = '', escapedPart] = match;
  const elements = elementsOf(scheme.toLowerCase(), company, reference, escapedPart);
  return elements && collectElements(elements);
}

function elementsOf(
  scheme: string,
  company: string,
  reference: string,
  escapedPart: string | undefined,
): Gs1Element[] | undefined {
  const lastPart = readLastPart(escapedPart);
  const hasLastPart = escapedPart !== undefined;
  switch (scheme) {
    case 'id:sgtin':
      return withSecond(keyWithLeadDigit('01', company, reference, tradeItemDigits), '21', lastPart);
    case 'class:lgtin':
      return withSecond(keyWithLeadDigit('01', company, reference, tradeItemDigits), '10', lastPart);
    case 'idpat:sgtin':
      return escapedPart === '*' ? keyWithLeadDigit('01', company, reference, tradeItemDigits) : undefined;
    case 'id:sscc':
      return hasLastPart ? undefined : keyWithLeadDigit('00', company, reference, logisticUnitDigits);
    case 'id:sgln':
      return withSecond(placeKey('414', company, reference), '254', lastPart);
    default:
      return hasLastPart ? undefined : placeKey('417', company, reference);
  }
}

function readLastPart(escaped: string | undefined): string | undefined {
  return escaped !== undefined && lastPartText.test(escaped) ? withoutPercentEncoding(escaped) : undefined;
}

function withSecond(
  key: Gs1Element[] | undefined,
  applicationIdentifier: string,
  value: string | undefined,
): Gs1Element[] | undefined {
  return key && value !== undefined ? [...key, [applicationIdentifier, value]] : undefined;
}

/** The reference begins with the indicator or extension digit, which the key has in front of the company prefix. */
function keyWithLeadDigit(
  applicationIdentifier: string,
  company: string,
  reference: string,
  length: number,
): Gs1Element[] | undefined {
  if (reference === '' || company.length + reference.length !== length) return undefined;
  return keyElement(applicationIdentifier, reference.charAt(0) + company + reference.slice(1));
}

/** With a company prefix of 12 digits the location reference is empty. */
function placeKey(applicationIdentifier: string, company: string, reference: string): Gs1Element[] | undefined {
  if (company.length + reference.length !== placeDigits) return undefined;
  return keyElement(applicationIdentifier, company + reference);
}

function keyElement(applicationIdentifier: string, body: string): Gs1Element[] {
  return [[applicationIdentifier, body + gs1CheckDigit(body)]];
}
