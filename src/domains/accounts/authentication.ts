import { blake3Hex } from '#platform/blake3.ts';
import type { Database } from '#platform/database.ts';
import type { Principal } from '#platform/route.ts';
import { findActiveUserByEmail, findValidApiKey, touchApiKeys } from './accounts.store.ts';
import { verifyPassword } from './passwords.ts';

/** How long a key that was found goes on working after it was revoked elsewhere, at most. */
const foundForMs = 30_000;
const missingForMs = 2000;
const rememberedMax = 10_000;
const touchEveryMs = 60_000;
const apiKeyPattern = /^dfm_[A-Za-z0-9]{32,200}$/;

export interface Authentication {
  /** The principal behind an API key; undefined when there is none. */
  authenticateApiKey(key: string): Promise<Principal | undefined>;
  /** True for the e-mail and password of an administrator of the installation. */
  isAdministrator(email: string, password: string): Promise<boolean>;
  stop(): void;
}

/** BLAKE3 of a key: it has full entropy, so a fast hash is enough, and partners' existing hashes are BLAKE3. */
export function hashApiKey(key: string): Buffer {
  return Buffer.from(blake3Hex(key), 'hex');
}

/** Checks credentials against the database, and remembers keys for a short while so that a hot path asks once. */
export function makeAuthentication(database: Database, nowMs: () => number): Authentication {
  const remembered = new Map<string, { principal: Principal | undefined; untilMs: number }>();
  const used = new Set<string>();
  const timer = setInterval(() => {
    if (used.size === 0) return;
    const ids = [...used];
    used.clear();
    // Only a hint for people; the next use tries again.
    touchApiKeys(database.pool, ids).catch(() => {});
  }, touchEveryMs);
  timer.unref();

  const remember = (hash: string, principal: Principal | undefined) => {
    if (remembered.size >= rememberedMax) remembered.delete(remembered.keys().next().value!);
    remembered.set(hash, { principal, untilMs: nowMs() + (principal ? foundForMs : missingForMs) });
    return principal;
  };

  return {
    async authenticateApiKey(key) {
      if (!apiKeyPattern.test(key)) return undefined;
      const hash = blake3Hex(key);
      const known = remembered.get(hash);
      if (known && known.untilMs > nowMs()) {
        if (known.principal) used.add(known.principal.credentialId);
        return known.principal;
      }
      const row = await findValidApiKey(database.pool, Buffer.from(hash, 'hex'));
      return remember(hash, row && { workspaceId: row.workspace_id, scope: row.scope, credentialId: row.api_key_id });
    },
    async isAdministrator(email, password) {
      // Postgres holds no U+0000, so no user has it in an e-mail.
      const user = email.includes('\u0000') ? undefined : await findActiveUserByEmail(database.knex, email);
      const isRight = await verifyPassword(password, user?.password_hash);
      return isRight && user?.is_administrator === true;
    },
    stop: () => clearInterval(timer),
  };
}
