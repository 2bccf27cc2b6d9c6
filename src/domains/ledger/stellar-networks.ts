/** The networks of Stellar that everybody knows. */
export const stellarNetworks = {
  testnet: {
    passphrase: 'Test SDF Network ; September 2015',
    rpcUrls: ['https://soroban-testnet.stellar.org'],
    inWords: 'the test network of Stellar, which is no proof in public',
  },
  mainnet: {
    passphrase: 'Public Global Stellar Network ; September 2015',
    rpcUrls: [],
    inWords: 'the public network of Stellar',
  },
} as const;

/** What a network is called in words; only one of them is the public ledger. */
export function networkInWords(passphrase: string): string {
  const known = Object.values(stellarNetworks).find((network) => network.passphrase === passphrase);
  return known?.inWords ?? `a network of its own ("${passphrase}"), which is no proof in public`;
}
