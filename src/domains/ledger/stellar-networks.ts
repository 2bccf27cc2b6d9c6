const names: Readonly<Record<string, string>> = {
  'Public Global Stellar Network ; September 2015': 'the public network of Stellar',
  'Test SDF Network ; September 2015': 'the test network of Stellar, which is no proof in public',
};

/** What a network is called in words; only one of them is the public ledger. */
export function networkInWords(passphrase: string): string {
  return names[passphrase] ?? `a network of its own ("${passphrase}"), which is no proof in public`;
}
