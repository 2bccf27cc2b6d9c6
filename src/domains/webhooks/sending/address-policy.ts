import { BlockList, isIP, isIPv6 } from 'node:net';

/** Which addresses and URLs requests of ours may go to; everything that is not public is closed unless it is named. */
export interface AddressPolicy {
  /** Networks that are open although they are not public, as CIDR. */
  readonly allowedNetworks: readonly string[];
  readonly allowedPorts: readonly number[];
  readonly allowsHttp: boolean;
}

/**
 * Networks that are not public, or lead to such: the special-purpose registries of IANA (RFC 6890), multicast, and the
 * prefixes that carry an IPv4 address.
 */
const closedNetworks = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // where virtual machines of Azure ask for what is theirs (WireServer)
  '168.63.129.16/32',
  '2001::/23',
  '2001:db8::/32',
  '3fff::/20',
];
/** All that was given out of IPv6 (IANA, Internet Protocol Version 6 Address Space). */
const globalUnicast = '2000::/3';

/** Addresses of IPv6 that stand for one of IPv4, with the byte at which that begins: they are judged by it. */
const embeddings = [
  { network: '::ffff:0:0/96', at: 12 },
  { network: '::ffff:0:0:0/96', at: 12 },
  { network: '64:ff9b::/96', at: 12 },
  { network: '2002::/16', at: 2 },
] as const;

const closedNames =
  /(?:^|\.)(?:localhost|local|internal|intranet|lan|home|corp|private|onion|invalid|test|example|arpa)\.?$/i;

export type AddressJudge = ReturnType<typeof makeAddressJudge>;

/** Judges addresses and URLs by a policy. @throws Error for an allowed network that is none */
export function makeAddressJudge({ allowedNetworks, allowedPorts, allowsHttp }: AddressPolicy) {
  const [closed, allowed] = [blockListOf(closedNetworks), blockListOf(allowedNetworks)];
  const assigned = blockListOf([globalUnicast]);
  const embedded = embeddings.map(({ network, at }) => ({ list: blockListOf([network]), at }));

  /** Whether requests may go to an address. */
  const isOpen = (address: string): boolean => {
    const family = isIP(address);
    if (family === 0) return false;
    const kind = family === 4 ? 'ipv4' : 'ipv6';
    if (allowed.check(address, kind)) return true;
    if (family === 6) {
      const inner = embedded.find(({ list }) => list.check(address, 'ipv6'));
      if (inner) return isOpen(ipv4In(address, inner.at));
      if (!assigned.check(address, 'ipv6')) return false;
    }
    return !closed.check(address, kind);
  };

  const allowsScheme = (protocol: string): boolean => protocol === 'https:' || (allowsHttp && protocol === 'http:');
  // The port of the protocol itself is never written.
  const allowsPort = (port: string): boolean => port === '' || allowedPorts.includes(Number(port));

  return {
    isOpen,

    /** Whether requests may go to the scheme and the port of a URL, as its parser gives them. */
    allowsOrigin: ({ protocol, port }: Pick<URL, 'protocol' | 'port'>): boolean =>
      allowsScheme(protocol) && allowsPort(port),

    /** Why requests may not go to a URL, as far as that is known without its addresses; undefined if they may. */
    faultOfUrl(text: string): string | undefined {
      if (!URL.canParse(text)) return 'this is no URL';
      const { protocol, username, password, hostname, port, hash } = new URL(text);
      if (!allowsScheme(protocol))
        return allowsHttp ? 'a URL begins with https:// or http://' : 'a URL begins with https://';
      if (username !== '' || password !== '')
        return 'a URL has no user name and no password; there are other ways to authenticate';
      if (hash !== '') return 'a URL has no part behind #';
      if (!allowsPort(port)) return `the port ${port} is not allowed`;
      const address = hostname.replace(/^\[|\]$/g, '');
      if (isIP(address) !== 0) return isOpen(address) ? undefined : 'this address is not public';
      if (allowedNetworks.length > 0) return undefined;
      return closedNames.test(hostname) || !hostname.includes('.') ? 'this name is not public' : undefined;
    },
  };
}

function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix = ''] = network.split('/');
    const family = isIP(address);
    if (family === 0 || !/^\d{1,3}$/.test(prefix)) throw new Error(`${network} is no network`);
    list.addSubnet(address, Number(prefix), family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

/** The address of IPv4 that begins at a byte of one of IPv6. */
function ipv4In(address: string, at: number): string {
  return [...bytesOf(address).subarray(at, at + 4)].join('.');
}

/** The 16 bytes of an address of IPv6, in any of its notations. */
function bytesOf(address: string): Buffer {
  const withoutZone = address.replace(/%.*$/, '');
  // The URL parser writes each address in one way, with an inner address of IPv4 in hexadecimal.
  const canonical = isIPv6(withoutZone) ? new URL(`http://[${withoutZone}]`).hostname.slice(1, -1) : '::';
  const [head = '', tail] = canonical.split('::');
  const groupsOf = (text: string) => (text === '' ? [] : text.split(':'));
  const [before, after] = [groupsOf(head), tail === undefined ? [] : groupsOf(tail)];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex');
}
