/*
 * The records that all sections send: one animal each, two identifiers (the tagged ones have a third that identifies
 * nothing), six fields. Everything in a record follows from the animal's number, so that SQL can make the same values.
 */

/** Bytes of a record in NDJSON, without the line feed. */
export const ndjsonRecordBytes = 616;

/**
 * Coprime to 10^12, so that numbers spread over the whole key space without repeats, as those of many farms do; below 2^53
 * for animals up to 3,000,000.
 */
const spreads = { sisbov: 2_654_435_761, chip: 1_597_334_677 } as const;
const prefixes = { sisbov: '105', chip: '982' } as const;
const digits = 12;
const numbersMax = 10 ** digits;
const breeds = ['Nelore', 'Guzera', 'Caracu', 'Sindhi'] as const;
const observation =
  'Animal recebido na balanca do retiro, vacinado contra febre aftosa e brucelose, sem lesoes aparentes, conferido pelo responsavel tecnico e liberado para o lote de recria no pasto com cocho coberto e agua encanada; ';

/** The kinds of identifier that a record names. */
export type IdentifierName = keyof typeof spreads;

/** An identifier of an animal in its normal form. */
export function identifierOf(name: IdentifierName, animal: number): string {
  return prefixes[name] + String((animal * spreads[name]) % numbersMax).padStart(digits, '0');
}

/** The same in SQL, from an expression for the animal's number. */
export function identifierSql(name: IdentifierName, animal: string): string {
  return `'${prefixes[name]}' || lpad(((${animal})::int8 * ${spreads[name]} % ${numbersMax})::text, ${digits}, '0')`;
}

/** Kilograms as text; always of the same length. */
export function weightOf(animal: number, isWeighedAgain: boolean): string {
  return `${(isWeighedAgain ? 340 : 300) + (animal % 400)}.5`;
}

/** The visual ear tag of an animal in SQL: it is found again, but identifies nothing by itself. */
function earTagSql(animal: string): string {
  return `'T' || lpad((${animal})::text, 7, '0')`;
}

/**
 * What stands for the values of an animal in the record that stored ones are made from: each as long as what replaces it,
 * since the rest of a record fills it up to its size, and none part of another.
 */
export const placeholderValues = {
  sisbov: '105999999999999',
  chip: '982999999999999',
  ear_tag: 'T9999999',
  weight: '987.5',
  breed: '@breed',
  sex: '#',
  birth_date: '@birthdate',
  farm: '@farm name@',
} as const;

/** The values of an animal's first record in SQL, under the names of {@link placeholderValues}. */
export function firstValuesSql(animal: string): Record<keyof typeof placeholderValues, string> {
  const breedList = breeds.map((breed) => `'${breed}'`).join(', ');
  return {
    sisbov: identifierSql('sisbov', animal),
    chip: identifierSql('chip', animal),
    ear_tag: earTagSql(animal),
    weight: `(300 + (${animal}) % 400)::text || '.5'`,
    breed: `(array[${breedList}])[(${animal}) % ${breeds.length} + 1]`,
    sex: `case (${animal}) % 2 when 0 then 'F' else 'M' end`,
    birth_date: `to_char(date '2022-01-01' + ((${animal}) % 700)::int, 'YYYY-MM-DD')`,
    farm: `'Fazenda ' || lpad(((${animal}) % 500)::text, 3, '0')`,
  };
}

const dayMs = 86_400_000;
const firstBirthMs = Date.UTC(2022, 0, 1);

function firstValues(animal: number): Record<keyof typeof placeholderValues, string> {
  return {
    sisbov: identifierOf('sisbov', animal),
    chip: identifierOf('chip', animal),
    ear_tag: `T${String(animal).padStart(7, '0')}`,
    weight: weightOf(animal, false),
    breed: breeds[animal % breeds.length]!,
    sex: animal % 2 === 0 ? 'F' : 'M',
    birth_date: new Date(firstBirthMs + (animal % 700) * dayMs).toISOString().slice(0, 10),
    farm: `Fazenda ${String(animal % 500).padStart(3, '0')}`,
  };
}

/** The record as JSON text of exactly so many bytes; an animal that is weighed again brings another weight. */
export function recordText(animal: number, isWeighedAgain: boolean, bytes = ndjsonRecordBytes): string {
  return textOf({ ...firstValues(animal), weight: weightOf(animal, isWeighedAgain) }, bytes);
}

/** The record that stored ones are made from. */
export function placeholderRecordText(): string {
  return textOf(placeholderValues, ndjsonRecordBytes);
}

/** The record with the animal's ear tag as a third identifier, and with this weight in kilograms. */
export function taggedRecordText(animal: number, weight: string): string {
  return textOf({ ...firstValues(animal), weight }, ndjsonRecordBytes, { isTagged: true });
}

/** The tagged record that stored ones are made from. */
export function taggedPlaceholderText(): string {
  return textOf(placeholderValues, ndjsonRecordBytes, { isTagged: true });
}

function textOf(
  values: Readonly<Record<keyof typeof placeholderValues, string>>,
  bytes: number,
  { isTagged } = { isTagged: false },
): string {
  const earTag = isTagged ? `,{"identifier_type":"brinco","value":"${values.ear_tag}"}` : '';
  const start =
    `{"identifiers":[{"identifier_type":"sisbov","value":"${values.sisbov}"},{"identifier_type":"chip","value":"${values.chip}"}${earTag}],` +
    `"value_chain":"BEEF","country":"BR","year":2025,"metadata":{"breed":"${values.breed}","sex":"${values.sex}",` +
    `"birth_date":"${values.birth_date}","weight_kg":${values.weight},"farm":"${values.farm}","observation":"`;
  const end = '"}}';
  return start + observation.repeat(2).slice(0, bytes - start.length - end.length) + end;
}

/** Records in the order in which they are sent, with what they must become. */
export interface RecordPlan {
  readonly animals: Int32Array;
  /** 1 where the animal is weighed again. */
  readonly isWeighedAgain: Uint8Array;
  /** Animals that were not stored before. */
  readonly newAnimals: number;
  /** The weight that each animal has in the end. */
  readonly finalWeights: ReadonlyMap<number, string>;
}

/**
 * Plans records of which every fifth concerns an animal that is known by then, each animal at most once: in turn one that
 * adds something, and one that repeats what was sent.
 * @param stored animals 0 to `stored` - 1 are known before; of the known ones, every second is one of these.
 */
export function planRecords(options: { count: number; firstAnimal: number; stored: number; seed: number }): RecordPlan {
  const random = makeRandom(options.seed);
  const animals = new Int32Array(options.count);
  const isWeighedAgain = new Uint8Array(options.count);
  const finalWeights = new Map<number, string>();
  const revisited = new Set<number>();
  let newAnimals = 0;
  const pickKnown = (isStored: boolean) => {
    for (;;) {
      const animal = isStored
        ? Math.floor(random() * options.stored)
        : options.firstAnimal + Math.floor(random() * newAnimals);
      if (revisited.has(animal)) continue;
      revisited.add(animal);
      return animal;
    }
  };
  for (let at = 0; at < options.count; at += 1) {
    const visit = Math.floor(at / 5);
    const isRevisit = at % 5 === 4;
    const animal = isRevisit ? pickKnown(options.stored > 0 && visit % 2 === 0) : options.firstAnimal + newAnimals;
    if (!isRevisit) newAnimals += 1;
    const again = isRevisit && visit % 4 < 2;
    animals[at] = animal;
    isWeighedAgain[at] = again ? 1 : 0;
    finalWeights.set(animal, weightOf(animal, again));
  }
  return { animals, isWeighedAgain, newAnimals, finalWeights };
}

/** The records from `start` to `end` as an NDJSON body. */
export function ndjsonOf(plan: RecordPlan, start: number, end: number): Buffer {
  const lines: string[] = [];
  for (let at = start; at < end; at += 1)
    lines.push(`${recordText(plan.animals[at]!, plan.isWeighedAgain[at] === 1)}\n`);
  return Buffer.from(lines.join(''), 'latin1');
}

/** Mulberry32: a small generator whose numbers are the same on every machine. */
function makeRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
