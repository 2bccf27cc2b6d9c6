import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson } from './parse-json.ts';

describe('parseJson', () => {
  it('keeps a name with an escape apart from names that were read before', () => {
    parseJson('{"p":1,"\\\\":0}');

    const value = parseJson('{"p":1,"\\n":5}');

    expect(Object.keys(value as object)).toEqual(['p', '\n']);
  });

  it('reads every document as it was written, whatever its names', () => {
    const name = fc.oneof(fc.constantFrom('\\', '\n', '"', '\t', '__proto__', 'p', ''), fc.string());
    const document = fc.json({ maxDepth: 4 }).map((text) => JSON.parse(text) as unknown);
    const withNames = fc.dictionary(name, document, { noNullPrototype: true });
    fc.assert(
      fc.property(fc.array(withNames, { maxLength: 4 }), fc.constantFrom(0, 1, '\t'), (value, space) => {
        const text = JSON.stringify(value, undefined, space);

        expect(JSON.stringify(parseJson(text))).toBe(JSON.stringify(value));
      }),
      { numRuns: 500 },
    );
  });

  it('makes __proto__ a member like any other, beside a name with an escape too', () => {
    const value = parseJson('{"\\u005f_proto__":{"x":1},"a":[ ],"b":{ },"c":[1 , {"\\t":null}]}') as object;

    expect(Object.keys(value)).toEqual(['__proto__', 'a', 'b', 'c']);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  it.each(['', '{', '{"\\n":}', '{"\\n":1,}', '["\\x"]', '{"a\\"b" 1}'])('refuses %j as JSON.parse does', (text) => {
    expect(() => parseJson(text)).toThrow(SyntaxError);
  });

  it('takes time in proportion to the text, with as many escapes as it holds', () => {
    const text = `{"a":"${'\\\\'.repeat(500_000)}","\\n":1}`;
    const startedAt = performance.now();

    parseJson(text);

    expect(performance.now() - startedAt).toBeLessThan(2000);
  });
});
