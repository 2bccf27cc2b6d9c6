import { Resolver } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import { Agent, buildConnector } from 'undici';
import type { AddressJudge } from './address-policy.ts';

interface SafeAgentOptions {
  readonly judge: AddressJudge;
  /** Addresses of DNS servers; those of the system when there are none. */
  readonly dnsServers: readonly string[];
  readonly connectTimeoutMs: number;
  /** To one origin. */
  readonly connectionsMax: number;
}

/** A name or an address leads where requests may not go. Its text tells nothing of the inside. */
export class ForbiddenAddress extends Error {
  readonly code = 'FORBIDDEN_ADDRESS';

  constructor() {
    super('the address is not public');
    this.name = 'ForbiddenAddress';
  }
}

/** The scheme or the port of a URL, which was allowed once, is not any more. */
export class ForbiddenOrigin extends Error {
  readonly code = 'FORBIDDEN_ORIGIN';

  constructor() {
    super('the scheme or the port is not allowed');
    this.name = 'ForbiddenOrigin';
  }
}

/** A name could not be resolved. */
export class UnknownName extends Error {
  readonly code = 'UNKNOWN_NAME';

  constructor() {
    super('the name could not be resolved');
    this.name = 'UnknownName';
  }
}

const dnsTimeoutMs = 3000;
const dnsTries = 2;
/** One request at a time on a connection, so that a receiver which cuts one off cuts off no other. */
const allowH2 = false;

/**
 * A client whose connections only go to addresses that the judge lets through. Names are resolved when a connection is
 * made, every address of the answer must be open, and the ones that were judged are those that are connected to; literals in
 * any notation are judged as well. Proxies of the environment are not used.
 */
export function makeSafeAgent({ judge, dnsServers, connectTimeoutMs, connectionsMax }: SafeAgentOptions): Agent {
  // Asks the network itself: the resolver of the system blocks a thread of the process for each name.
  const resolver = new Resolver({ timeout: dnsTimeoutMs, tries: dnsTries });
  if (dnsServers.length > 0) resolver.setServers([...dnsServers]);

  const resolve = async (hostname: string): Promise<{ address: string; family: number }[]> => {
    const found = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
    const addresses = found.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
    if (addresses.length === 0) throw new UnknownName();
    if (!addresses.every((address) => judge.isOpen(address))) throw new ForbiddenAddress();
    return addresses.map((address) => ({ address, family: isIP(address) }));
  };

  const resolveThen = callbackify(resolve);
  const lookup: LookupFunction = (hostname, options, callback) => {
    resolveThen(hostname, (error, addresses) => {
      if (error) callback(error, '', 0);
      else if (options.all === true) callback(null, addresses);
      else callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  };

  const connect = buildConnector({ lookup, timeout: connectTimeoutMs, allowH2 });
  return new Agent({
    connections: connectionsMax,
    pipelining: 1,
    allowH2,
    keepAliveTimeout: 4000,
    keepAliveMaxTimeout: 30_000,
    connect(options, callback) {
      // A literal is connected to without any lookup.
      const literal = options.hostname.replace(/^\[|\]$/g, '');
      if (!judge.allowsOrigin({ protocol: options.protocol, port: options.port }))
        callback(new ForbiddenOrigin(), null);
      else if (isIP(literal) !== 0 && !judge.isOpen(literal)) callback(new ForbiddenAddress(), null);
      else connect(options, callback);
    },
  });
}
