/** How a request tells who sends it, beside its signature. */
export type EndpointAuth =
  | { readonly type: 'none' }
  | { readonly type: 'bearer'; readonly token: string }
  | { readonly type: 'api_key'; readonly key: string }
  | { readonly type: 'basic'; readonly username: string; readonly password: string }
  | { readonly type: 'custom_header'; readonly name: string; readonly value: string };

/** The header by which a request authenticates itself. */
export function authHeader(auth: EndpointAuth): readonly [name: string, value: string] | undefined {
  switch (auth.type) {
    case 'none':
      return undefined;
    case 'bearer':
      return ['authorization', `Bearer ${auth.token}`];
    case 'api_key':
      return ['x-api-key', auth.key];
    case 'basic':
      return ['authorization', `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`];
    case 'custom_header':
      return [auth.name, auth.value];
  }
}

/** What of it is a secret, in the forms in which a receiver may send it back. */
export function credentialsOf(auth: EndpointAuth): readonly string[] {
  switch (auth.type) {
    case 'none':
      return [];
    case 'bearer':
      return [auth.token];
    case 'api_key':
      return [auth.key];
    case 'basic':
      return [Buffer.from(`${auth.username}:${auth.password}`).toString('base64'), auth.password];
    case 'custom_header':
      return [auth.value];
  }
}
