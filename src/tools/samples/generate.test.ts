import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeTruth, makeSample } from './generate.ts';

const readSample = (name: string) => readFileSync(join(import.meta.dirname, '../../../samples', name));

describe('the committed samples', () => {
  const { csv, truth } = makeSample();

  it('are byte for byte what the generator makes', () => {
    expect(readSample('cattle.csv').equals(Buffer.from(csv)), 'samples/cattle.csv has drifted').toBe(true);
    expect(readSample('truth.json').equals(Buffer.from(encodeTruth(truth))), 'samples/truth.json has drifted').toBe(
      true,
    );
  });

  it('have a truth that adds up', () => {
    expect(truth.accepted + truth.conflicted + truth.rejected).toBe(truth.records);
    expect(truth.rejected_lines).toHaveLength(truth.rejected);
    expect(truth.lines).toBe(csv.split('\n').length - 1);
    expect(truth.sampled_items).toHaveLength(200);
    // Beyond 10,000 the API tells a lower bound instead of the number of items.
    expect(truth.items).toBeLessThan(10_000);
  });

  it('start rejected records at the lines that the truth names', () => {
    const physicalLines = csv.split('\n');
    const linesNamedAs = (code: string) =>
      truth.rejected_lines.filter((rejected) => rejected.code === code).map(({ line }) => physicalLines[line - 1]);
    const damagedNumbers = physicalLines.filter((text) => /^1[.,]\d+E\+14;/.test(text));
    const strayQuotes = physicalLines.filter((text) => text.endsWith(';chifre de 3" serrado'));
    expect(damagedNumbers.length).toBeGreaterThan(0);
    expect(strayQuotes.length).toBeGreaterThan(0);
    expect(linesNamedAs('spreadsheet_damage')).toEqual(damagedNumbers);
    expect(linesNamedAs('csv_stray_quote')).toEqual(strayQuotes);
  });
});
