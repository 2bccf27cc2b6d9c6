import { Problem } from '#platform/errors.ts';
import { defineRoute, type Route, type RouteRequest } from '#platform/route.ts';
import { proofBundleSchema } from '../ledger.schema.ts';
import { wordsFor } from './page-words.ts';
import { drawPublicItem } from './page.ts';
import type { PublicItems } from './public-item.ts';

const tag = 'Public pages';

interface PublicItemRoutesOptions {
  publicItems: PublicItems;
  /** Where the installation is reached, such as https://example.com; undefined to believe what each request says. */
  publicUrl: string | undefined;
}

/** What everybody may read of items, as a page and as proof files. */
export function publicItemRoutes({ publicItems, publicUrl }: PublicItemRoutesOptions): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/public/items/{dfid}',
      access: 'public',
      tag,
      summary: 'A page with what participants made public of an item, and how it is proven, with a QR code',
      responses: { 200: { description: 'The page, in Portuguese or English', contentType: 'text/html' } },
      problems: ['not_found'],
      async handle(request) {
        const item = await publicItems.find(request.parameters['dfid']!);
        const url = `${publicUrl ?? originOf(request)}/public/items/${encodeURIComponent(item.dfid)}`;
        const page = await drawPublicItem(item, wordsFor(request.headers['accept-language']), url);
        const headers = {
          'content-type': 'text/html; charset=utf-8',
          'content-security-policy': page.contentSecurityPolicy,
          'cache-control': 'public, max-age=60',
          vary: 'accept-language',
        };
        return { status: 200, headers, raw: page.html };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/public/items/{dfid}/proofs/{place}',
      access: 'public',
      tag,
      summary: 'The proof of what one participant made public of an item; it shows nothing else of the version',
      responses: { 200: { description: 'The proof', schema: proofBundleSchema } },
      problems: ['not_found'],
      async handle({ parameters }) {
        const item = await publicItems.find(parameters['dfid']!);
        const proof = /^\d{1,3}$/.test(parameters['place']!)
          ? item.parts[Number(parameters['place'])]?.proof
          : undefined;
        if (!proof) throw new Problem('not_found', 'there is no proof of this yet');
        return { status: 200, body: proof };
      },
    }),
  ];
}

/** Where a request says that it was sent to. Only whoever asks sees what comes of it. */
function originOf({ headers }: Pick<RouteRequest, 'headers'>): string {
  const isSecure = headers['x-forwarded-proto'] === 'https';
  return `${isSecure ? 'https' : 'http'}://${headers.host ?? 'localhost'}`;
}
