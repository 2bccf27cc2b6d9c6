import type { LogStateRow } from './log.store.ts';

/** An account has to keep a part of what it has (https://developers.stellar.org/docs/learn/fundamentals/lumens, 2026). */
const reserveStroops = 10_000_000;
const stroopsPerLumen = 10_000_000;
/** Of anchors that it can pay for, if each costs all that it may bid; below that somebody has to send it more. */
const anchorsLeftMin = 1000;

/** What the account that pays for anchors has, and for how many more that is enough at least. */
export interface AnchorBalance {
  readonly account: string;
  readonly lumens: number;
  readonly anchorsLeft: number;
  readonly isLow: boolean;
}

/** @param maxFeeStroops what one anchor may cost. */
export function balanceOf(
  { anchor_account: account, anchor_balance_stroops: balanceStroops }: LogStateRow,
  maxFeeStroops: number,
): AnchorBalance | undefined {
  if (account === null || balanceStroops === null) return undefined;
  const anchorsLeft = Math.max(0, Math.floor((balanceStroops - reserveStroops) / maxFeeStroops));
  return { account, lumens: balanceStroops / stroopsPerLumen, anchorsLeft, isLow: anchorsLeft < anchorsLeftMin };
}

/** The alarm in words; undefined while there is enough. */
export function alarmInWords(balance: AnchorBalance | undefined): string | undefined {
  if (!balance?.isLow) return undefined;
  const { account, lumens, anchorsLeft } = balance;
  return `The account ${account} has ${lumens} XLM left, enough for ${anchorsLeft} anchors at the highest bid: send it more.`;
}
