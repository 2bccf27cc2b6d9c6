import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAnchoredApplication, type AnchoredApplication } from './anchored-application.ts';
import { startWebhookReceiver, webhookSettings, type WebhookReceiver } from './webhook-receiver.ts';

/** An application that stores to a folder and anchors, and may send to one receiver. */
export interface AnchoredWebhooks extends AnchoredApplication {
  readonly receiver: WebhookReceiver;
}

/** Starts one; call `close()` in `afterAll`. */
export async function startAnchoredWebhooks(environment: Record<string, string> = {}): Promise<AnchoredWebhooks> {
  const folder = mkdtempSync(join(tmpdir(), 'defarm-anchored-webhooks-'));
  const receiver = await startWebhookReceiver();
  const anchored = await startAnchoredApplication({
    ...webhookSettings(receiver),
    STORAGE_ADAPTER: 'local',
    STORAGE_FOLDER: folder,
    STORAGE_BATCH_MAX_AGE_MS: '0',
    ...environment,
  });
  return {
    ...anchored,
    receiver,
    async close() {
      await anchored.close();
      await receiver.close();
      rmSync(folder, { recursive: true });
    },
  };
}
