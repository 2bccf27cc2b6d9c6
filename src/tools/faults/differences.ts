/** Collects what differs between what is and what must be; counts all, keeps the first of each kind. */
export class Differences {
  readonly #texts: string[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The first ones, as sentences. */
  get texts(): readonly string[] {
    return this.#texts;
  }

  add(text: string): void {
    this.#count += 1;
    if (this.#texts.length < 40) this.#texts.push(text);
  }

  /** Notes a difference when two values are not the same. */
  compare(what: string, got: unknown, expected: unknown): void {
    if (got !== expected) this.add(`${what} is ${String(got)}, expected ${String(expected)}`);
  }

  /** Notes what one set has and the other has not. */
  compareSets(what: string, got: Iterable<string>, expected: Iterable<string>): void {
    const [gotSet, expectedSet] = [new Set(got), new Set(expected)];
    const missing = [...expectedSet].filter((text) => !gotSet.has(text));
    const surplus = [...gotSet].filter((text) => !expectedSet.has(text));
    if (missing.length > 0) this.add(`${what} lacks ${sample(missing)}`);
    if (surplus.length > 0) this.add(`${what} has ${sample(surplus)}, which was not expected`);
  }
}

function sample(texts: readonly string[]): string {
  const shown = texts.slice(0, 3).join(', ');
  return texts.length > 3 ? `${shown} and ${texts.length - 3} more` : shown;
}
