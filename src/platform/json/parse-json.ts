/**
 * Reads JSON text as `JSON.parse` does, but for a fault of the engine: V8 may give an object the member name of an object
 * that it read before, if the name is written with an escape (nodejs/node#63785). Names come from many workspaces, so
 * texts with such a name are read without the engine's objects; all others take the fast way.
 * @throws SyntaxError as `JSON.parse` does.
 */
export function parseJson(text: string): unknown {
  if (!hasEscapedName(text)) return JSON.parse(text) as unknown;
  checkSyntax(text);
  return new ValueReader(text).read();
}

function checkSyntax(text: string): void {
  JSON.parse(text);
}

/** Whether a member name in a text holds a backslash. Every string is looked at once. */
function hasEscapedName(text: string): boolean {
  if (!text.includes('\\')) return false;
  for (let start = text.indexOf('"'); start !== -1;) {
    const end = endOfString(text, start);
    if (end === -1) return false;
    if (text.charCodeAt(skipSpace(text, end)) === colon && text.slice(start, end).includes('\\')) return true;
    start = text.indexOf('"', end);
  }
  return false;
}

const colon = 0x3a;
const backslash = 0x5c;
const quote = 0x22;

/** The offset after the closing quote of the string that opens at `start`; -1 when it does not close. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === backslash) at += 1;
    else if (code === quote) return at + 1;
  }
  return -1;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && ' \t\n\r'.includes(text[at]!)) at += 1;
  return at;
}

/** Builds the value of a text whose syntax is right. Recursion is as deep as the text, which the caller limits. */
class ValueReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): unknown {
    this.#at = skipSpace(this.#text, this.#at);
    const first = this.#text[this.#at];
    if (first === '{') return this.#readObject();
    if (first === '[') return this.#readArray();
    return first === '"' ? this.#readString() : this.#readScalar();
  }

  #readObject(): object {
    const members: [string, unknown][] = [];
    while (this.#next('}')) {
      const name = this.#readString();
      this.#at = skipSpace(this.#text, this.#at) + 1;
      members.push([name, this.read()]);
    }
    return Object.fromEntries(members);
  }

  #readArray(): unknown[] {
    const elements: unknown[] = [];
    while (this.#next(']')) elements.push(this.read());
    return elements;
  }

  /** Steps over the opening bracket or a comma; false, and behind the closing bracket, when nothing follows. */
  #next(closing: string): boolean {
    this.#at = skipSpace(this.#text, this.#at);
    const isClosed = this.#text[this.#at] === closing;
    this.#at = isClosed ? this.#at + 1 : skipSpace(this.#text, this.#at + 1);
    if (isClosed || this.#text[this.#at] !== closing) return !isClosed;
    this.#at += 1;
    return false;
  }

  #readString(): string {
    const end = endOfString(this.#text, this.#at);
    const value = JSON.parse(this.#text.slice(this.#at, end)) as string;
    this.#at = end;
    return value;
  }

  #readScalar(): unknown {
    const start = this.#at;
    while (this.#at < this.#text.length && !',]} \t\n\r'.includes(this.#text[this.#at]!)) this.#at += 1;
    return JSON.parse(this.#text.slice(start, this.#at)) as unknown;
  }
}
