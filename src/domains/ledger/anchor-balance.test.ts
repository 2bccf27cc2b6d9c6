import { expect, test } from 'vitest';
import { alarmInWords, balanceOf } from './anchor-balance.ts';

const stateWith = (anchor_account: string | null, anchor_balance_stroops: number | null) => ({
  size: 1,
  refusal: null,
  anchor_refusal: null,
  anchor_account,
  anchor_balance_stroops,
});

test('an account that can pay for a thousand anchors at the highest bid rings no alarm, one stroop less does', () => {
  const [reserve, maxFee] = [10_000_000, 100_000];
  const enough = balanceOf(stateWith('GA', reserve + 1000 * maxFee), maxFee);
  const low = balanceOf(stateWith('GA', reserve + 1000 * maxFee - 1), maxFee);

  expect(enough).toMatchObject({ anchorsLeft: 1000, isLow: false });
  expect(alarmInWords(enough)).toBeUndefined();
  expect(low).toMatchObject({ anchorsLeft: 999, isLow: true });
  expect(alarmInWords(low)).toContain('enough for 999 anchors');
});

test('an account with less than its reserve pays for none, and one that was never looked at says nothing', () => {
  expect(balanceOf(stateWith('GA', 5), 100)).toMatchObject({ anchorsLeft: 0, isLow: true });
  expect(balanceOf(stateWith(null, null), 100)).toBeUndefined();
});
