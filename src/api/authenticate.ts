import type { IncomingHttpHeaders } from 'node:http';
import type { Authentication } from '#domains/accounts/index.ts';
import { Problem } from '#platform/errors.ts';
import { scopes, type Principal, type Route } from '#platform/route.ts';

const challenge = { 'www-authenticate': 'Bearer realm="defarm", charset="UTF-8"' };

function presentedKey({ access }: Pick<Route, 'access'>, headers: IncomingHttpHeaders): string | undefined {
  // The gateway's clients name the key of an administrator so.
  const key = headers['x-api-key'] ?? (access === 'admin' ? headers['x-admin-key'] : undefined);
  if (typeof key === 'string') return key;
  const { authorization } = headers;
  return authorization !== undefined && /^bearer /i.test(authorization) ? authorization.slice(7).trim() : undefined;
}

/**
 * The principal of a request to a route. Every route needs one unless its row says public.
 * @throws Problem unauthenticated, or insufficient_scope for a route of one's own workspace that needs more.
 */
export async function authenticate(
  route: Pick<Route, 'access'>,
  headers: IncomingHttpHeaders,
  authentication: Authentication,
): Promise<Principal | undefined> {
  if (route.access === 'public') return undefined;
  const key = presentedKey(route, headers);
  if (key === undefined)
    throw new Problem('unauthenticated', 'send an API key in X-API-Key, or as a Bearer token', { headers: challenge });
  const principal = await authentication.authenticateApiKey(key);
  if (!principal)
    throw new Problem('unauthenticated', 'this API key is not known, or no longer valid', { headers: challenge });
  if (scopes.indexOf(principal.scope) < scopes.indexOf(route.access)) {
    throw new Problem(
      'insufficient_scope',
      `this needs a key with the scope ${route.access}; yours has ${principal.scope}`,
    );
  }
  return principal;
}
