/** A GS1 element: the digits of its application identifier, and its value. */
export type Gs1Element = readonly [applicationIdentifier: string, value: string];

/** The values of elements by their application identifiers. */
export type Gs1Elements = ReadonlyMap<string, string>;

interface ElementFormat {
  characters: RegExp;
  isFixedLength: boolean;
  longest: number;
}

/** ASCII 29, which a scanner sends for FNC1 (GS1 General Specifications, section 7.8). */
const separator = '\u001D';

/** The character sets of values (GS1 General Specifications, section 7.11): digits, set 82, set 39, file-safe base 64. */
const characterSets = {
  N: /^\d+$/,
  X: /^[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]+$/,
  Y: /^[#\-/0-9A-Z]+$/,
  Z: /^[-0-9A-Z_a-z]+=*$/,
} as const;

/**
 * What an application identifier's value looks like, in the notation of the GS1 General Specifications, section 3.2: N digits,
 * X characters of set 82, Y of set 39, Z of file-safe base 64, `..` up to. No identifier begins with another, which lets a
 * string without brackets be walked. Values of several parts are given by their whole length, since only that matters for
 * what follows.
 */
const formats: ReadonlyMap<string, ElementFormat> = new Map(
  (
    [
      ['00', 'N18'],
      ['01', 'N14'],
      ['02', 'N14'],
      ['03', 'N14'],
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
      ['235', 'X..28'],
      ['240', 'X..30'],
      ['241', 'X..30'],
      ['242', 'N..6'],
      ['243', 'X..20'],
      ['250', 'X..30'],
      ['251', 'X..30'],
      ['253', 'X..30'],
      ['254', 'X..20'],
      ['255', 'N..25'],
      ['30', 'N..8'],
      ['37', 'N..8'],
      ['400', 'X..30'],
      ['401', 'X..30'],
      ['402', 'N17'],
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
      ['4300', 'X..35'],
      ['4301', 'X..35'],
      ['4307', 'X2'],
      ['4308', 'X..30'],
      ['4309', 'N20'],
      ['4310', 'X..35'],
      ['4311', 'X..35'],
      ['4317', 'X2'],
      ['4318', 'X..20'],
      ['4319', 'X..30'],
      ['4320', 'X..35'],
      ['4321', 'N1'],
      ['4322', 'N1'],
      ['4323', 'N1'],
      ['4324', 'N10'],
      ['4325', 'N10'],
      ['4326', 'N6'],
      ['7001', 'N13'],
      ['7002', 'X..30'],
      ['7003', 'N10'],
      ['7004', 'N..4'],
      ['7005', 'X..12'],
      ['7006', 'N6'],
      ['7007', 'N..12'],
      ['7008', 'X..3'],
      ['7009', 'X..10'],
      ['7010', 'X..2'],
      ['7011', 'N..10'],
      ['7020', 'X..20'],
      ['7021', 'X..20'],
      ['7022', 'X..20'],
      ['7023', 'X..30'],
      ['7040', 'X4'],
      ['7041', 'X..4'],
      ['7240', 'X..20'],
      ['7241', 'N2'],
      ['7242', 'X..25'],
      ['7250', 'N8'],
      ['7251', 'N12'],
      ['7252', 'N1'],
      ['7253', 'X..40'],
      ['7254', 'X..40'],
      ['7255', 'X..10'],
      ['7256', 'X..90'],
      ['7257', 'X..70'],
      ['7258', 'X3'],
      ['7259', 'X..40'],
      ['8001', 'N14'],
      ['8002', 'X..20'],
      ['8003', 'X..30'],
      ['8004', 'X..30'],
      ['8005', 'N6'],
      ['8006', 'N18'],
      ['8007', 'X..34'],
      ['8008', 'N..12'],
      ['8009', 'X..50'],
      ['8010', 'Y..30'],
      ['8011', 'N..12'],
      ['8012', 'X..20'],
      ['8013', 'X..25'],
      ['8014', 'X..25'],
      ['8017', 'N18'],
      ['8018', 'N18'],
      ['8019', 'N..10'],
      ['8020', 'X..25'],
      ['8026', 'N18'],
      ['8030', 'Z..90'],
      ['8110', 'X..70'],
      ['8111', 'N4'],
      ['8112', 'X..70'],
      ['8200', 'X..70'],
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
  [/^43(?:0[2-6]|1[2-6])$/, formatOf('X..70')],
  [/^433[0-3]$/, formatOf('X..7')],
  [/^703\d$/, formatOf('X..30')],
  [/^71[0-7]$/, formatOf('X..20')],
  [/^723\d$/, formatOf('X..30')],
  [/^9[1-9]$/, formatOf('X..90')],
];

/**
 * Elements which say nothing without one of the others (GS1 General Specifications, section 4.13.2). A serial of a third
 * party makes a key with the GTIN that is not known here, unless the serial of the owner tells the item apart.
 */
const companions: ReadonlyArray<readonly [string, readonly string[]]> = [
  ['10', ['01', '02']],
  ['21', ['01']],
  ['22', ['01']],
  ['235', ['21']],
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
  return hasLength && format.characters.test(value);
}

function formatOf(notation: `${keyof typeof characterSets}${'..' | ''}${number}`): ElementFormat {
  const isFixedLength = !notation.includes('..');
  return {
    characters: characterSets[notation.charAt(0) as keyof typeof characterSets],
    isFixedLength,
    longest: Number(notation.slice(isFixedLength ? 1 : 3)),
  };
}
