/** A GS1 element: the digits of its application identifier, and its value. */
export type Gs1Element = readonly [applicationIdentifier: string, value: string];

/** The values of elements by their application identifiers. */
export type Gs1Elements = ReadonlyMap<string, string>;

interface ElementFormat {
  isNumeric: boolean;
  isFixedLength: boolean;
  longest: number;
}

/** ASCII 29, which a scanner sends for FNC1 (GS1 General Specifications, section 7.8). */
const separator = '\u001D';

/** GS1 AI encodable character set 82 (GS1 General Specifications, section 7.11). */
const set82 = /^[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]+$/;
const onlyDigits = /^\d+$/;

/**
 * What an application identifier's value looks like, in the notation of the GS1 General Specifications, section 3.2: N digits,
 * X characters of set 82, `..` up to. No identifier begins with another, which lets a string without brackets be
 * walked. Left out are those that make up a key which is not known here (03, 235, 253, 255, 401, 402, 7040, 80nn).
 * Values of several parts are given by their whole length, since only the length matters for what follows.
 */
const formats: ReadonlyMap<string, ElementFormat> = new Map(
  (
    [
      ['00', 'N18'],
      ['01', 'N14'],
      ['02', 'N14'],
      ['10', 'X..20'],
      ['11', 'N6'],
      ['12', 'N6'],
      ['13', 'N6'],
      ['15', 'N6'],
      ['16', 'N6'],
      ['17', 'N6'],
      ['20', 'N2'],
      ['21', 'X..20'],
      ['22', 'X..20'],
      ['240', 'X..30'],
      ['241', 'X..30'],
      ['242', 'N..6'],
      ['243', 'X..20'],
      ['250', 'X..30'],
      ['251', 'X..30'],
      ['254', 'X..20'],
      ['30', 'N..8'],
      ['37', 'N..8'],
      ['400', 'X..30'],
      ['403', 'X..30'],
      ['410', 'N13'],
      ['411', 'N13'],
      ['412', 'N13'],
      ['413', 'N13'],
      ['414', 'N13'],
      ['415', 'N13'],
      ['416', 'N13'],
      ['417', 'N13'],
      ['420', 'X..20'],
      ['421', 'X..12'],
      ['422', 'N3'],
      ['423', 'N..15'],
      ['424', 'N3'],
      ['425', 'N..15'],
      ['426', 'N3'],
      ['427', 'X..3'],
      ['7001', 'N13'],
      ['7002', 'X..30'],
      ['7003', 'N10'],
      ['7004', 'N..4'],
      ['7005', 'X..12'],
      ['7006', 'N6'],
      ['7007', 'N..12'],
      ['8005', 'N6'],
      ['8008', 'N..12'],
      ['90', 'X..30'],
    ] as const
  ).map(([applicationIdentifier, notation]) => [applicationIdentifier, formatOf(notation)]),
);

/** Families of application identifiers whose last digit counts decimals or numbers the entries of a list. */
const formatsOfFamilies: ReadonlyArray<readonly [RegExp, ElementFormat]> = [
  [/^3(?:1[0-6]|[246]\d|[35][0-7])[0-5]$/, formatOf('N6')],
  [/^39[02]\d$/, formatOf('N..15')],
  [/^39[13]\d$/, formatOf('N..18')],
  [/^394[0-3]$/, formatOf('N4')],
  [/^395[0-5]$/, formatOf('N6')],
  [/^703\d$/, formatOf('X..30')],
  [/^9[1-9]$/, formatOf('X..90')],
];

/** Elements which say nothing without one of the others (GS1 General Specifications, section 4.13.2). */
const companions: ReadonlyArray<readonly [string, readonly string[]]> = [
  ['10', ['01', '02']],
  ['21', ['01']],
  ['22', ['01']],
  ['254', ['414']],
];

/**
 * The elements by their application identifiers; undefined if one is not known, if a value is not of its format, if two
 * values differ for one identifier, or if an element lacks the one that it belongs to.
 */
export function collectElements(elements: Iterable<Gs1Element>): Gs1Elements | undefined {
  const collected = new Map<string, string>();
  for (const [applicationIdentifier, value] of elements) {
    const format = findFormat(applicationIdentifier);
    if (!format || !isOfFormat(value, format)) return undefined;
    if ((collected.get(applicationIdentifier) ?? value) !== value) return undefined;
    collected.set(applicationIdentifier, value);
  }
  const isComplete = companions.every(
    ([element, others]) => !collected.has(element) || others.some((other) => collected.has(other)),
  );
  return isComplete ? collected : undefined;
}

/**
 * Reads an element string (GS1 General Specifications, sections 4.14 and 7.8): with each application identifier in brackets,
 * where blanks around the values mean nothing, or without brackets, where a value of variable length ends with FNC1 (ASCII
 * 29) or with the text. Undefined if the text is no such string.
 */
export function readElementString(text: string): Gs1Elements | undefined {
  const elements = text.startsWith('(') ? splitBracketed(text) : walkUnbracketed(text);
  return elements && collectElements(elements);
}

/** Whether a value holds what a reader of the bracketed form would take for the next application identifier. */
export function holdsBracketedIdentifier(value: string): boolean {
  return /\(\d{2,4}\)/.test(value);
}

function splitBracketed(text: string): Gs1Element[] | undefined {
  const heads = Array.from(text.matchAll(/\((\d{2,4})\)/g));
  if (heads[0]?.index !== 0) return undefined;
  return heads.map(({ 0: head, 1: applicationIdentifier = '', index }, position) => [
    applicationIdentifier,
    text.slice(index + head.length, heads[position + 1]?.index).trim(),
  ]);
}

/** Scanners send FNC1 in front of the string as well, and some printers put it behind values of fixed length. */
function walkUnbracketed(text: string): Gs1Element[] | undefined {
  const elements: Gs1Element[] = [];
  let position = text.startsWith(separator) ? 1 : 0;
  while (position < text.length) {
    const applicationIdentifier = findIdentifierAt(text, position);
    if (applicationIdentifier === undefined) return undefined;
    const start = position + applicationIdentifier.length;
    const end = endOfValue(text, start, applicationIdentifier);
    elements.push([applicationIdentifier, text.slice(start, end)]);
    position = text.startsWith(separator, end) ? end + 1 : end;
  }
  return elements;
}

function findIdentifierAt(text: string, position: number): string | undefined {
  return [2, 3, 4].map((length) => text.slice(position, position + length)).find((prefix) => findFormat(prefix));
}

function endOfValue(text: string, start: number, applicationIdentifier: string): number {
  const format = findFormat(applicationIdentifier);
  if (format && hasPredefinedLength(applicationIdentifier)) return start + format.longest;
  const end = text.indexOf(separator, start);
  return end === -1 ? text.length : end;
}

/** Only these do without FNC1, whatever follows (GS1 General Specifications, section 7.8, predefined length). */
function hasPredefinedLength(applicationIdentifier: string): boolean {
  return /^(?:0[0-2]|1[1-9]|20|3[1-6]|41)/.test(applicationIdentifier);
}

function findFormat(applicationIdentifier: string): ElementFormat | undefined {
  return (
    formats.get(applicationIdentifier) ?? formatsOfFamilies.find(([family]) => family.test(applicationIdentifier))?.[1]
  );
}

function isOfFormat(value: string, format: ElementFormat): boolean {
  const hasLength = format.isFixedLength ? value.length === format.longest : value.length <= format.longest;
  return hasLength && (format.isNumeric ? onlyDigits : set82).test(value);
}

function formatOf(notation: `${'N' | 'X'}${'..' | ''}${number}`): ElementFormat {
  const isFixedLength = !notation.includes('..');
  return {
    isNumeric: notation.startsWith('N'),
    isFixedLength,
    longest: Number(notation.slice(isFixedLength ? 1 : 3)),
  };
}
