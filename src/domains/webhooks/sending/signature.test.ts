import { createSecretKey, createPublicKey, verify } from 'node:crypto';
import { expect, test } from 'vitest';
import { Webhook } from 'standardwebhooks';
import { makePrivateKey, makeSecret, publicKeyOf, readPrivateKey, readSecret, signatureOf } from './signature.ts';

test('the signature is that of the test vector of Standard Webhooks', () => {
  const secrets = [createSecretKey(readSecret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')!)];
  const message = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', seconds: 1_614_265_330, body: '{"test": 2432232314}' };

  expect(signatureOf(message, { secrets, privateKeys: [] })).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

test('each of several secrets and keys signs, in one header that libraries read', () => {
  const [now, before] = [makeSecret(), makeSecret()];
  const privateKey = makePrivateKey();
  const message = { id: 'one', seconds: Math.floor(Date.now() / 1000), body: '{"name":"São João 🐄"}\n' };

  const header = signatureOf(message, {
    secrets: [now, before].map((secret) => createSecretKey(readSecret(secret)!)),
    privateKeys: [readPrivateKey(privateKey)],
  });

  const headers = { 'webhook-id': 'one', 'webhook-timestamp': String(message.seconds), 'webhook-signature': header };
  expect([now, before].map((secret) => new Webhook(secret).verify(message.body, headers))).toHaveLength(2);
  expect(() => new Webhook(makeSecret()).verify(message.body, headers)).toThrow('No matching signature');
  const [label, signature] = header.split(' ')[2]!.split(',');
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: publicKeyOf(privateKey).toString('base64url') },
    format: 'jwk',
  });
  const signed = Buffer.from(`one.${message.seconds}.${message.body}`);
  expect([label, verify(null, signed, key, Buffer.from(signature!, 'base64'))]).toEqual(['v1a', true]);
});

test.each([
  ['', 'nothing'],
  ['MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'no prefix'],
  ['whsec_', 'no bytes'],
  [`whsec_${Buffer.alloc(23).toString('base64')}`, '23 bytes'],
  [`whsec_${Buffer.alloc(65).toString('base64')}`, '65 bytes'],
  [`whsec_${Buffer.alloc(32).toString('base64url')}`, 'base64 without its end'],
  ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n', 'a new line behind it'],
])('%j is no secret: %s', (text) => {
  expect(readSecret(text)).toBeUndefined();
});

test.each([24, 32, 64])('a secret has %s bytes', (bytes) => {
  expect(readSecret(`whsec_${Buffer.alloc(bytes, 7).toString('base64')}`)).toEqual(Buffer.alloc(bytes, 7));
});
