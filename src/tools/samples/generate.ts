import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Makes `samples/cattle.csv` and `samples/truth.json`: a file of cattle records as farms and slaughterhouses send them,
 * and what must become of it, known because each line was made for it and not because anything read the file.
 *
 * Chunks of a receipt are worked on in any order. So the truth names only what no order changes: how many records are
 * accepted, which lines are rejected and why, how many items remain, and the values that their fields end with. Whether
 * a given record is `created` or `enriched`, and whether two halves of an animal ever were two items, depends on what
 * comes first and is left out.
 *
 * The number of conflicts is kept, because contested animals come in pairs that share one transponder and nothing else:
 * whichever is first, the other one contradicts it. The number of duplicates is kept, because two things hold. Every
 * record of an animal weighs it at a time and with a result of its own, so it says something new whatever came before.
 * And a repeat follows its original in the same block of a hundred records, which no chunk of a multiple of that size
 * divides: of equal records the one that stands first in the file owns the place in time, so that it would still be new
 * if it were worked on after its repeat.
 *
 * Run it with `node src/tools/samples/generate.ts`. The same source writes the same bytes.
 */
const seed = 20_250_314;

const columns = [
  'sisbov',
  'chip',
  'brinco',
  'raca',
  'sexo',
  'peso',
  'data_nasc',
  'data_entrada',
  'fazenda',
  'occurred_at',
  'observacao',
] as const;
type Column = (typeof columns)[number];

/** The columns that become fields of an item; the others are its identifiers and the time of the record. */
const fieldColumns = ['raca', 'sexo', 'peso', 'data_nasc', 'data_entrada', 'fazenda', 'observacao'] as const;
type FieldColumn = (typeof fieldColumns)[number];

/** A column that is not named is an empty cell. */
type Cells = Partial<Record<Column, string>>;

const delimiter = ';';
/** Chunks are cut after a multiple of so many records. */
const blockRecords = 100;
const dayMs = 86_400_000;
const minuteMs = 60_000;

type RejectionCode =
  | 'csv_column_count'
  | 'csv_stray_quote'
  | 'no_identifying_identifier'
  | 'spreadsheet_damage'
  | 'invalid_identifier'
  | 'invalid_occurred_at';

/** `told`: says something new about its item. */
type Fate = 'told' | 'duplicate' | 'conflicted' | RejectionCode;

interface WrittenRecord {
  text: string;
  fate: Fate;
}

/** Records that follow each other in the file: one, or one and its repeats. */
interface Passage {
  /** Where in the file it stands: passages are sorted by it. */
  place: number;
  records: WrittenRecord[];
}

/** Cells of one record and the time that they speak of. */
interface Sighting {
  atMs: number;
  cells: Cells;
}

interface Animal {
  /** The twelve digits of its number in the SISBOV register. */
  sisbovDigits: string;
  chip: string;
  brinco: string;
  origin: Cells;
  /** Days since the Unix epoch. */
  lastSeenDay: number;
  weightTenths: number;
  /** Every record that was accepted for it. */
  sightings: Sighting[];
}

/** One animal and the values that its fields must end with. */
interface SampledItem {
  identifier_type: 'sisbov';
  value: string;
  fields: Partial<Record<FieldColumn, string>>;
}

/** What must become of the sample file when it is sent to an empty workspace as one receipt. */
interface SampleTruth {
  file: string;
  /** Lines of the file, the header and line breaks inside quoted cells included. */
  lines: number;
  records: number;
  /** Created, enriched or duplicate. */
  accepted: number;
  duplicates: number;
  conflicted: number;
  rejected: number;
  /** Items that remain after merges. */
  items: number;
  /** `line`: the physical line at which the record starts; the header is line 1. */
  rejected_lines: { line: number; code: RejectionCode }[];
  sampled_items: SampledItem[];
}

/** The two sample files as text. */
interface Sample {
  csv: string;
  truth: SampleTruth;
}

/** Random draws that are the same on every machine. */
interface Random {
  /** From 0 to below 1. */
  fraction(): number;
  /** A whole number, both ends included. */
  between(low: number, high: number): number;
  pick<Value>(values: readonly Value[]): Value;
  chance(probability: number): boolean;
}

/** The generator mulberry32 by Tommy Ettinger: 32 bits of state, enough for sample data. */
function makeRandom(start: number): Random {
  let state = start;
  const fraction = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number) => low + Math.floor(fraction() * (high - low + 1));
  return {
    fraction,
    between,
    pick: (values) => values[between(0, values.length - 1)]!,
    chance: (probability) => fraction() < probability,
  };
}

const breeds = [
  'Nelore',
  'Nelore',
  'Nelore',
  'Nelore Mocho',
  'Angus',
  'Brangus',
  'Tabapuã',
  'Guzerá',
  'Canchim',
  'Senepol',
  'Caracu',
  'Charolês',
  'Simental',
  'Girolando',
  'Mestiço',
  'Cruzamento ½ Angus × ½ Nelore',
];

const farms = [
  'Fazenda São José do Araguaia',
  'Fazenda Água Limpa',
  'Sítio Três Irmãos',
  'Estância Coração do Pampa',
  'Fazenda Ribeirão; Retiro 2',
  'Fazenda Ribeirão; Retiro 3',
  'Fazenda "Boa Esperança"',
  'Agropecuária Paraíso',
  'Fazenda Santa Mônica',
  'Fazenda Conceição',
  'Chácara Ipê-Amarelo',
  'Fazenda Nova Aliança "B"; Sede',
  'Confinamento Mutum',
  'Fazenda Piúva',
  'Fazenda Boqueirão',
  'Fazenda São Félix do Xingu',
];

const remarks = [
  'vacinado contra febre aftosa',
  'apartado; aguardando GTA',
  'marca "JB" na paleta esquerda',
  'exame de brucelose: negativo\nveterinária: Dra. Conceição',
  'brinco caído; recolocado\nconferido por João\nlote "Maternidade"',
  'pelagem baia, orelha fendida',
  'desmama precoce; suplementação até março',
  '"manso"',
];

/** Numbers by which the herd's states begin: IBGE codes of MT, MS, GO, SP, MG, PA, RO, TO, BA and RS. */
const statePrefixes = ['51', '50', '52', '35', '31', '15', '11', '17', '29', '43'];
/** Makers of transponders (ISO 11784) whose tags are common in the herd. */
const transponderMakers = ['982', '963', '964'];
/** Offsets of Brasília, Cuiabá and of systems that write UTC. */
const utcOffsets = [
  { hours: -3, suffix: '-03:00' },
  { hours: -4, suffix: '-04:00' },
  { hours: 0, suffix: 'Z' },
];

/** The file while it grows. */
interface Book {
  random: Random;
  passages: Passage[];
  usedNumbers: Set<string>;
  items: number;
  /** Animals of which a SISBOV number was sent, in the order of their making. */
  registered: Animal[];
}

function drawNumber(book: Book, prefix: string, digits: number): string {
  for (;;) {
    let number = prefix;
    while (number.length < digits) number += String(book.random.between(0, 9));
    if (book.usedNumbers.has(number)) continue;
    book.usedNumbers.add(number);
    return number;
  }
}

function brazilianDate(atMs: number): string {
  const [year, month, day] = new Date(atMs).toISOString().slice(0, 10).split('-');
  return `${day}/${month}/${year}`;
}

function bearAnimal(book: Book): Animal {
  const { random } = book;
  const bornMs = Date.UTC(2021, 0, 1) + random.between(0, 1200) * dayMs;
  return {
    sisbovDigits: drawNumber(book, random.pick(statePrefixes), 12),
    chip: drawNumber(book, random.pick(transponderMakers), 15),
    // Farms number their ear tags from the start again, so that different animals carry the same.
    brinco: String(random.between(1, 4999)).padStart(4, '0'),
    origin: {
      raca: random.pick(breeds),
      sexo: random.pick(['M', 'F']),
      data_nasc: brazilianDate(bornMs),
      data_entrada: brazilianDate(bornMs + random.between(90, 300) * dayMs),
      fazenda: random.pick(farms),
    },
    lastSeenDay: Date.UTC(2025, 0, 6) / dayMs + random.between(0, 80),
    weightTenths: random.between(1500, 3800),
    sightings: [],
  };
}

function spellTime(random: Random, atMs: number): string {
  const offset = random.pick(utcOffsets);
  return `${new Date(atMs + offset.hours * 60 * minuteMs).toISOString().slice(0, 19)}${offset.suffix}`;
}

/** The spellings in which one SISBOV number is met. */
function spellSisbov(random: Random, digits: string): string {
  const number = `105${digits}`;
  return random.pick([
    `BR${digits}`,
    `BR${digits}`,
    number,
    number,
    `BR ${digits.slice(0, 2)} ${digits.slice(2, 8)} ${digits.slice(8)}`,
    (number.match(/\d{3}/g) ?? []).join('.'),
    `105 ${digits}`,
  ]);
}

function spellWeight(tenths: number): string {
  const kilograms = Math.floor(tenths / 10);
  return tenths % 10 === 0 ? String(kilograms) : `${kilograms},${tenths % 10}`;
}

/** Sees the animal at a later time and with a greater weight than ever before. */
function weigh(book: Book, animal: Animal, identifiers: Cells, details: Cells = {}): Sighting {
  const { random } = book;
  animal.lastSeenDay += random.between(12, 30);
  const atMs = animal.lastSeenDay * dayMs + random.between(10 * 60, 21 * 60) * minuteMs;
  animal.weightTenths += random.between(40, 260);
  const cells: Cells = {
    ...details,
    ...identifiers,
    peso: spellWeight(animal.weightTenths),
    occurred_at: spellTime(random, atMs),
  };
  if (random.chance(0.15)) cells.observacao = random.pick(remarks);
  const sighting = { atMs, cells };
  animal.sightings.push(sighting);
  return sighting;
}

function bothIdentifiers({ random }: Book, animal: Animal): Cells {
  return { sisbov: spellSisbov(random, animal.sisbovDigits), chip: animal.chip, brinco: animal.brinco };
}

function sisbovOnly({ random }: Book, animal: Animal): Cells {
  return { sisbov: spellSisbov(random, animal.sisbovDigits) };
}

/** Later records of an animal seldom repeat where it came from; sometimes they say that it was moved. */
function laterDetails({ random }: Book): Cells {
  return random.chance(0.2) ? { fazenda: random.pick(farms) } : {};
}

function encodeCell(text: string): string {
  return /[;"\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function encodeCells(cells: Cells): string {
  return columns.map((column) => encodeCell(cells[column] ?? '')).join(delimiter);
}

function write(book: Book, place: number, cells: Cells, fate: Fate): Passage {
  const passage = { place, records: [{ text: encodeCells(cells), fate }] };
  book.passages.push(passage);
  return passage;
}

/** A place after `place`: mostly within some hundred lines, sometimes thousands of lines later, in another chunk. */
function placeAfter({ random }: Book, place: number): number {
  return place + 0.000_1 + random.fraction() * (random.chance(0.6) ? 0.02 : 0.5);
}

/**
 * Writes records one after the other from a random place on; all say something new about one item. Returns the last.
 */
function tell(
  book: Book,
  [first, ...later]: readonly [Pick<Sighting, 'cells'>, ...Pick<Sighting, 'cells'>[]],
): Passage {
  book.items += 1;
  let passage = write(book, book.random.fraction(), first.cells, 'told');
  for (const { cells } of later) passage = write(book, placeAfter(book, passage.place), cells, 'told');
  return passage;
}

function repeat(passage: Passage, cells: Cells): void {
  passage.records.push({ text: encodeCells(cells), fate: 'duplicate' });
}

function registerOnce(book: Book): void {
  const animal = bearAnimal(book);
  const identifiers = bothIdentifiers(book, animal);
  if (book.random.chance(0.15)) delete identifiers.chip;
  tell(book, [weigh(book, animal, identifiers, animal.origin)]);
  book.registered.push(animal);
}

function registerByChip(book: Book): void {
  const animal = bearAnimal(book);
  tell(book, [weigh(book, animal, { chip: animal.chip, brinco: animal.brinco }, animal.origin)]);
}

/** The ear tag alone never matches: each such record is an item of its own. */
function registerByEarTag(book: Book): void {
  const animal = bearAnimal(book);
  tell(book, [weigh(book, animal, { brinco: animal.brinco }, animal.origin)]);
}

function sendAgain(book: Book): void {
  const { random } = book;
  const animal = bearAnimal(book);
  const { cells } = weigh(book, animal, bothIdentifiers(book, animal), animal.origin);
  const passage = tell(book, [{ cells }]);
  for (let times = random.between(1, 2); times > 0; times -= 1) {
    // The number in another spelling is the same number, so the record still says nothing new.
    repeat(passage, random.chance(0.3) ? { ...cells, ...sisbovOnly(book, animal) } : cells);
  }
  book.registered.push(animal);
}

function weighAgain(book: Book): void {
  const animal = bearAnimal(book);
  const first = weigh(book, animal, bothIdentifiers(book, animal), animal.origin);
  const later = Array.from({ length: book.random.between(1, 3) }, () =>
    weigh(book, animal, bothIdentifiers(book, animal), laterDetails(book)),
  );
  const passage = tell(book, [first, ...later]);
  if (book.random.chance(0.1)) repeat(passage, later.at(-1)!.cells);
  book.registered.push(animal);
}

/** A first record with both numbers, then one by the transponder reader and one by the register. */
function weighByEitherNumber(book: Book): void {
  const animal = bearAnimal(book);
  tell(book, [
    weigh(book, animal, bothIdentifiers(book, animal), animal.origin),
    weigh(book, animal, { chip: animal.chip }, laterDetails(book)),
    weigh(book, animal, sisbovOnly(book, animal), laterDetails(book)),
  ]);
  book.registered.push(animal);
}

/** The older record arrives after the newer one and must not overwrite it. */
function reportLate(book: Book): void {
  const animal = bearAnimal(book);
  const older = weigh(book, animal, bothIdentifiers(book, animal), animal.origin);
  const newer = weigh(book, animal, bothIdentifiers(book, animal), { fazenda: book.random.pick(farms) });
  tell(book, [newer, older]);
  book.registered.push(animal);
}

/** Nothing binds the first two records, until the third names both numbers: what may have been two items is one. */
function linkHalves(book: Book): void {
  const animal = bearAnimal(book);
  tell(book, [
    weigh(book, animal, sisbovOnly(book, animal), animal.origin),
    weigh(book, animal, { chip: animal.chip }, laterDetails(book)),
    weigh(book, animal, bothIdentifiers(book, animal)),
  ]);
  book.registered.push(animal);
}

/** The number of a transponder, of a maker or of Brazil (076), typed into the column of the register. */
function mistakeChipForSisbov(book: Book): void {
  const animal = bearAnimal(book);
  const number = book.random.chance(0.5) ? drawNumber(book, '076', 15) : animal.chip;
  tell(book, [
    weigh(book, animal, { sisbov: number, brinco: animal.brinco }, animal.origin),
    weigh(book, animal, { chip: number }, laterDetails(book)),
  ]);
}

/** Two register numbers on one transponder: whichever record comes first, the other one cannot be right as well. */
function contest(book: Book): void {
  const animal = bearAnimal(book);
  const other = bearAnimal(book);
  const { place } = tell(book, [weigh(book, animal, bothIdentifiers(book, animal), animal.origin)]);
  const claim = weigh(book, other, { ...bothIdentifiers(book, other), chip: animal.chip }, other.origin);
  write(book, placeAfter(book, place), claim.cells, 'conflicted');
}

function sendDamaged(book: Book, code: RejectionCode, damage: (cells: Cells) => string): void {
  const animal = bearAnimal(book);
  const { cells } = weigh(book, animal, bothIdentifiers(book, animal), animal.origin);
  book.passages.push({ place: book.random.fraction(), records: [{ text: damage(cells), fate: code }] });
}

function sendDamagedLines(book: Book, times: number): void {
  const { random } = book;
  for (let time = 0; time < times; time += 1) {
    sendDamaged(book, 'csv_column_count', (cells) =>
      random.chance(0.5)
        ? encodeCells(cells).split(delimiter).slice(0, 5).join(delimiter)
        : `${encodeCells({ ...cells, observacao: 'apartado' })}${delimiter} sem GTA`,
    );
    sendDamaged(book, 'csv_stray_quote', (cells) => `${encodeCells({ ...cells, observacao: '' })}chifre de 3" serrado`);
    sendDamaged(book, 'no_identifying_identifier', (cells) =>
      encodeCells({ ...cells, sisbov: '', chip: '', brinco: '' }),
    );
    sendDamaged(book, 'spreadsheet_damage', (cells) =>
      encodeCells({ ...cells, sisbov: random.pick(['1,0555E+14', '1,05511E+14', '1.0535E+14']) }),
    );
    sendDamaged(book, 'invalid_identifier', (cells) => {
      const { sisbov: _correct, chip: _unused, ...rest } = cells;
      const digits = drawNumber(book, random.pick(statePrefixes), random.pick([9, 10, 11]));
      return encodeCells({ ...rest, sisbov: `${random.pick(['BR', '105'])}${digits}` });
    });
    sendDamaged(book, 'invalid_occurred_at', (cells) =>
      encodeCells({
        ...cells,
        occurred_at: random.pick([
          '2025-02-30T08:00:00-03:00',
          '2025-04-31T10:15:00Z',
          '2025-06-10T25:10:00-03:00',
          '2025-13-05T07:30:00-04:00',
          '31/02/2025 08:00',
        ]),
      }),
    );
  }
}

const stories: readonly (readonly [times: number, story: (book: Book) => void])[] = [
  [6200, registerOnce],
  [300, registerByChip],
  [30, registerByEarTag],
  [700, sendAgain],
  [900, weighAgain],
  [450, weighByEitherNumber],
  [150, reportLate],
  [160, linkHalves],
  [80, mistakeChipForSisbov],
  [24, contest],
];
const damagedTimes = 20;

/** Every field has the value of the latest record that names it. */
function finalFields(animal: Animal): SampledItem['fields'] {
  const fields: SampledItem['fields'] = {};
  for (const { cells } of animal.sightings.toSorted((a, b) => a.atMs - b.atMs)) {
    for (const column of fieldColumns) {
      const value = cells[column];
      if (value !== undefined) fields[column] = value;
    }
  }
  return fields;
}

/** Half of the animals are asked for in each of the two forms of their number. */
function sampleItems(registered: readonly Animal[]): SampledItem[] {
  const evenly = (animals: readonly Animal[], count: number) =>
    Array.from({ length: count }, (_unused, index) => animals[Math.floor((index * animals.length) / count)]!);
  const seenOnce = registered.filter(({ sightings }) => sightings.length === 1);
  const seenAgain = registered.filter(({ sightings }) => sightings.length > 1);
  return [...evenly(seenOnce, 50), ...evenly(seenAgain, 150)].map((animal, index) => ({
    identifier_type: 'sisbov',
    value: `${index % 2 === 0 ? 'BR' : '105'}${animal.sisbovDigits}`,
    fields: finalFields(animal),
  }));
}

/** The records in the order of their places, save that none is parted from its repeats by the end of a block. */
function layOut(passages: readonly Passage[]): WrittenRecord[] {
  const records: WrittenRecord[] = [];
  let waiting: Passage[] = [];
  for (const passage of passages.toSorted((a, b) => a.place - b.place)) {
    if ((records.length % blockRecords) + passage.records.length > blockRecords) waiting.push(passage);
    else records.push(...passage.records);
    if (records.length % blockRecords > 0) continue;
    records.push(...waiting.flatMap((delayed) => delayed.records));
    waiting = [];
  }
  if (waiting.length > 0) throw new Error('A repeat would be parted from its original at the end of the file.');
  return records;
}

/** Makes the sample and its truth; always the same. */
export function makeSample(): Sample {
  const book: Book = { random: makeRandom(seed), passages: [], usedNumbers: new Set(), items: 0, registered: [] };
  for (const [times, story] of stories) {
    for (let time = 0; time < times; time += 1) story(book);
  }
  sendDamagedLines(book, damagedTimes);
  const records = layOut(book.passages);

  const counts = { told: 0, duplicate: 0, conflicted: 0 };
  const rejectedLines: SampleTruth['rejected_lines'] = [];
  let line = 2;
  for (const { text, fate } of records) {
    if (fate === 'told' || fate === 'duplicate' || fate === 'conflicted') counts[fate] += 1;
    else rejectedLines.push({ line, code: fate });
    line += text.split('\n').length;
  }
  const truth: SampleTruth = {
    file: 'cattle.csv',
    lines: line - 1,
    records: records.length,
    accepted: counts.told + counts.duplicate,
    duplicates: counts.duplicate,
    conflicted: counts.conflicted,
    rejected: rejectedLines.length,
    items: book.items,
    rejected_lines: rejectedLines,
    sampled_items: sampleItems(book.registered),
  };
  return { csv: `${[columns.join(delimiter), ...records.map(({ text }) => text)].join('\n')}\n`, truth };
}

function encodeList(values: readonly unknown[]): string {
  return `[\n${values.map((value) => `    ${JSON.stringify(value)}`).join(',\n')}\n  ]`;
}

/** The bytes of `truth.json`: one line for each rejected line and each sampled item, so that differences are readable. */
export function encodeTruth(truth: SampleTruth): string {
  const { rejected_lines: rejectedLines, sampled_items: sampledItems, ...counts } = truth;
  const members = Object.entries(counts).map(([name, value]) => `  "${name}": ${JSON.stringify(value)}`);
  members.push(`  "rejected_lines": ${encodeList(rejectedLines)}`, `  "sampled_items": ${encodeList(sampledItems)}`);
  return `{\n${members.join(',\n')}\n}\n`;
}

if (import.meta.main) {
  const folder = join(import.meta.dirname, '../../../samples');
  const { csv, truth } = makeSample();
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, truth.file), csv);
  writeFileSync(join(folder, 'truth.json'), encodeTruth(truth));
  const { rejected_lines: _lines, sampled_items: _items, ...counts } = truth;
  console.log(JSON.stringify(counts));
}
