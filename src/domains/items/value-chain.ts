import { foldName } from './fold-name.ts';

/** The value chains an item can belong to, as they stand in a DFID. */
export const valueChains = ['BEEF', 'POULTRY', 'PORK', 'SOY', 'CORN', 'COTTON', 'COFFEE', 'MILK', 'GENERIC'] as const;

/** One of `valueChains`. */
export type ValueChain = (typeof valueChains)[number];

const portugueseNames: Readonly<Record<string, ValueChain>> = {
  bovino: 'BEEF',
  aves: 'POULTRY',
  suino: 'PORK',
  soja: 'SOY',
  milho: 'CORN',
  algodao: 'COTTON',
  cafe: 'COFFEE',
  leite: 'MILK',
};

const chainsByName = new Map<string, ValueChain>([
  ...valueChains.map((chain) => [foldName(chain), chain] as const),
  ...Object.entries(portugueseNames),
]);

const longestName = 32;

/**
 * The value chain that a client means by its code or its Portuguese name, in any case and with or without accents;
 * undefined for anything else.
 */
export function parseValueChain(text: string): ValueChain | undefined {
  return text.length > longestName ? undefined : chainsByName.get(foldName(text));
}
