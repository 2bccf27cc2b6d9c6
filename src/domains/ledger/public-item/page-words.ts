import { stellarNetworks } from '../stellar-networks.ts';
import type { ProofState } from './public-item.ts';

/** The words of the page in one language. */
export interface PageWords {
  readonly language: string;
  readonly notice: string;
  readonly participant: string;
  readonly version: string;
  readonly content: string;
  readonly proof: string;
  readonly download: string;
  readonly check: string;
  readonly nothingElse: string;
  readonly qrCode: string;
  readonly chain: string;
  stateInWords(state: ProofState): string;
}

type Network = 'public' | 'test' | 'other';

function networkOf(passphrase: string): Network {
  if (passphrase === stellarNetworks.mainnet.passphrase) return 'public';
  return passphrase === stellarNetworks.testnet.passphrase ? 'test' : 'other';
}

const english: PageWords = {
  language: 'en',
  notice: 'What participants made public of this item. They say it; this page shows that they did, and when.',
  participant: 'Participant',
  version: 'Version',
  content: 'Content, by its address',
  proof: 'Proof',
  download: 'Download the proof file',
  check: 'Check it yourself',
  nothingElse: 'This participant made nothing public but that the item exists.',
  qrCode: 'QR code of this page',
  chain: 'Value chain',
  stateInWords(state) {
    switch (state.kind) {
      case 'waiting':
        return 'Not in the log yet; this takes some seconds.';
      case 'unsigned':
        return 'In the log of this installation, which signs nothing: nobody outside can tell whether it was changed.';
      case 'signed':
        return `In the log ${state.origin}, signed by its operator. Not anchored on a public ledger.`;
      case 'anchored': {
        const where = {
          public: `on the public network of Stellar, in ledger ${state.ledger}: nobody can have written it later than that`,
          test: `on the test network of Stellar, in ledger ${state.ledger}, which is no proof in public`,
          other: `on a network of its own, in ledger ${state.ledger}, which is no proof in public`,
        }[networkOf(state.networkPassphrase)];
        return `In the log ${state.origin}, signed by its operator, and anchored ${where} (${state.closedAt}).`;
      }
    }
  },
};

const portuguese: PageWords = {
  language: 'pt-BR',
  notice:
    'O que participantes tornaram público sobre este item. Quem diz são eles; esta página mostra que disseram, e quando.',
  participant: 'Participante',
  version: 'Versão',
  content: 'Conteúdo, pelo seu endereço',
  proof: 'Prova',
  download: 'Baixar o arquivo da prova',
  check: 'Verifique você mesmo',
  nothingElse: 'Este participante não tornou nada público além da existência do item.',
  qrCode: 'Código QR desta página',
  chain: 'Cadeia',
  stateInWords(state) {
    switch (state.kind) {
      case 'waiting':
        return 'Ainda não está no registro; leva alguns segundos.';
      case 'unsigned':
        return 'Está no registro desta instalação, que não assina nada: ninguém de fora sabe se foi alterado.';
      case 'signed':
        return `Está no registro ${state.origin}, assinado por quem o opera. Não está ancorado em um livro público.`;
      case 'anchored': {
        const where = {
          public: `na rede pública da Stellar, no ledger ${state.ledger}: ninguém pode ter escrito isto depois`,
          test: `na rede de testes da Stellar, no ledger ${state.ledger}, o que não é prova pública`,
          other: `em uma rede própria, no ledger ${state.ledger}, o que não é prova pública`,
        }[networkOf(state.networkPassphrase)];
        return `Está no registro ${state.origin}, assinado por quem o opera, e ancorado ${where} (${state.closedAt}).`;
      }
    }
  },
};

/** The words for whoever asks: Portuguese where it is preferred to English. */
export function wordsFor(acceptLanguage: string | undefined): PageWords {
  const wanted = (acceptLanguage ?? '')
    .split(',')
    .map((range) => {
      const [tag = '', ...parameters] = range.trim().toLowerCase().split(';');
      const quality = parameters.map((each) => /^\s*q=([\d.]+)\s*$/.exec(each)?.[1]).find((each) => each !== undefined);
      return { language: tag.split('-')[0], weight: quality === undefined ? 1 : Number(quality) };
    })
    .toSorted((a, b) => b.weight - a.weight);
  return wanted.find(({ language }) => language === 'pt' || language === 'en')?.language === 'pt'
    ? portuguese
    : english;
}
