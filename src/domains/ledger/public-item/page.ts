import { createHash } from 'node:crypto';
import { toString as drawQrCode } from 'qrcode';
import type { PageWords } from './page-words.ts';
import { stateOf, type PublicItem, type PublicPart } from './public-item.ts';

/** A page without scripts, and the policy under which it is shown. */
export interface PublicItemPage {
  readonly html: string;
  readonly contentSecurityPolicy: string;
}

const style = `
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1c2420;background:#fbfbf8}
h1{font-size:1.35rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin:0 0 .4rem}
section{background:#fff;border:1px solid #dde3de;border-radius:8px;padding:1rem;margin:1rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.5rem 0}
dt{color:#59645d}dd{margin:0;overflow-wrap:anywhere}
p.proof{border-left:5px solid #9aa89f;padding-left:.7rem}p.proof[data-state=anchored],p.proof[data-state=signed]{border-color:#2e7d4f}
svg{width:9rem;height:9rem}small{color:#59645d}`;

/** Everything that a page shows comes from strangers, so all of it is text. */
function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

function textOf(value: unknown): string {
  return escape(typeof value === 'string' ? value : JSON.stringify(value));
}

/**
 * Draws the page of an item.
 * @param url of the page itself, for the QR code.
 */
export async function drawPublicItem(item: PublicItem, words: PageWords, url: string): Promise<PublicItemPage> {
  const qrCode = await drawQrCode(url, { type: 'svg', margin: 1 });
  const parts = item.parts.map((part, at) => drawPart(item, part, at, words));
  const html = `<!doctype html>
<html lang="${words.language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escape(item.dfid)}</title><style>${style}</style></head>
<body>
<h1>${escape(item.dfid)}</h1>
<p>${words.chain}: ${escape(item.valueChain)} · ${escape(item.country)} · ${item.year}</p>
<p><small>${words.notice}</small></p>
${parts.join('\n')}
<figure aria-label="${words.qrCode}">${qrCode}<figcaption><small>${escape(url)}</small></figcaption></figure>
</body>
</html>
`;
  const styleHash = createHash('sha256').update(style).digest('base64');
  const directives = ["default-src 'none'", `style-src 'sha256-${styleHash}'`, "base-uri 'none'", "form-action 'none'"];
  return { html, contentSecurityPolicy: directives.join('; ') };
}

function drawPart({ dfid }: PublicItem, part: PublicPart, at: number, words: PageWords): string {
  const rows = [
    ...part.identifiers.map(({ identifier_type: type, value }) => [type, value] as const),
    ...Object.entries(part.metadata),
  ].map(([name, value]) => `<dt>${escape(name)}</dt><dd>${textOf(value)}</dd>`);
  const state = stateOf(part);
  const proofPath = `/public/items/${encodeURIComponent(dfid)}/proofs/${at}`;
  const links = part.proof
    ? `<p><a href="${proofPath}" download="${escape(dfid)}-proof.json">${words.download}</a> · <a href="/verify">${words.check}</a></p>`
    : '';
  return `<section>
<h2>${words.participant} ${at + 1} · ${words.version} ${part.version}</h2>
${rows.length === 0 ? `<p><small>${words.nothingElse}</small></p>` : `<dl>${rows.join('')}</dl>`}
<p class="proof" data-state="${state.kind}"><strong>${words.proof}:</strong> ${escape(words.stateInWords(state))}</p>
<p><small>${words.content}: <a href="/ipfs/${part.cid}">${part.cid}</a></small></p>
${links}
</section>`;
}
