import { describe, expect, test } from 'vitest';
import { makeAddressJudge } from './address-policy.ts';

const judge = makeAddressJudge({ allowedNetworks: [], allowedPorts: [], allowsHttp: false });

describe('an address', () => {
  test.each([
    '127.0.0.1',
    '127.255.255.254',
    '0.0.0.0',
    '10.0.0.1',
    '100.64.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.8',
    '192.168.1.1',
    '198.18.0.1',
    '203.0.113.7',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::7f00:1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:169.254.169.254',
    '64:ff9b::127.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:a9fe:a9fe::1',
    '2001::1',
    '2001:db8::1',
    '100::1',
    'fc00::1',
    'fd12:3456::1',
    'fe80::1',
    'fe80::1%eth0',
    'fec0::1',
    'ff02::1',
    '168.63.129.16',
    '::ffff:0:7f00:1',
    '::ffff:0:169.254.169.254',
    '4000::1',
    '5f00::1',
    'not an address',
    '',
  ])('%j is closed', (address) => {
    expect(judge.isOpen(address)).toBe(false);
  });

  test.each([
    '1.1.1.1',
    '172.15.255.255',
    '172.32.0.1',
    '192.167.1.1',
    '8.8.8.8',
    '2606:4700:4700::1111',
    '2a00:1450:4001:830::200e',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '2002:808:808::1',
  ])('%s is open', (address) => {
    expect(judge.isOpen(address)).toBe(true);
  });

  test('is open when its network is allowed, in whatever notation it comes', () => {
    const open = makeAddressJudge({
      allowedNetworks: ['10.1.0.0/16', 'fd00::/8'],
      allowedPorts: [],
      allowsHttp: false,
    });
    expect(['10.1.2.3', '::ffff:10.1.2.3', '64:ff9b::10.1.2.3', 'fd00::1'].map((each) => open.isOpen(each))).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(['10.2.0.1', 'fc00::1', '127.0.0.1'].map((each) => open.isOpen(each))).toEqual([false, false, false]);
  });
});

describe('a URL', () => {
  test.each([
    ['http://example.com/', 'begins with https'],
    ['ftp://example.com/', 'begins with https'],
    ['file:///etc/passwd', 'begins with https'],
    ['https://user:password@example.com/', 'no user name'],
    ['https://user@example.com/', 'no user name'],
    ['https://example.com/#part', 'behind #'],
    ['https://example.com:8443/', 'port 8443'],
    ['https://example.com:22/', 'port 22'],
    ['https://127.0.0.1/', 'not public'],
    ['https://2130706433/', 'not public'],
    ['https://0x7f.1/', 'not public'],
    ['https://0177.0.0.1/', 'not public'],
    ['https://127.1/', 'not public'],
    ['https://[::1]/', 'not public'],
    ['https://[::ffff:127.0.0.1]/', 'not public'],
    ['https://[64:ff9b::7f00:1]/', 'not public'],
    ['https://①②⑦.⓪.⓪.①/', 'not public'],
    ['https://localhost/', 'not public'],
    ['https://api.localhost/', 'not public'],
    ['https://printer.local/', 'not public'],
    ['https://metadata.google.internal/', 'not public'],
    ['https://intranet/', 'not public'],
    ['https://LOCALHOST./', 'not public'],
    ['no url', 'no URL'],
    ['', 'no URL'],
  ])('%j is refused', (url, why) => {
    expect(judge.faultOfUrl(url)).toContain(why);
  });

  test.each([
    'https://hooks.example.com.br/defarm?x=1',
    'https://1.1.1.1/',
    'https://example.org:443/',
    'https://São-joão.com.br/',
  ])('%s is taken', (url) => {
    expect(judge.faultOfUrl(url)).toBeUndefined();
  });

  test('may name other ports and begin with http where that is allowed', () => {
    const loose = makeAddressJudge({ allowedNetworks: ['127.0.0.0/8'], allowedPorts: [8080], allowsHttp: true });
    expect(
      ['http://127.0.0.1:8080/', 'http://service/', 'https://127.0.0.1/'].map((url) => loose.faultOfUrl(url)),
    ).toEqual([undefined, undefined, undefined]);
    expect(loose.faultOfUrl('http://127.0.0.1:9090/')).toContain('port 9090');
    expect(loose.faultOfUrl('http://10.0.0.1/')).toContain('not public');
  });
});

test('a network that is none is refused when the process starts', () => {
  expect(() => makeAddressJudge({ allowedNetworks: ['10.0.0.0'], allowedPorts: [], allowsHttp: false })).toThrow(
    'is no network',
  );
});
