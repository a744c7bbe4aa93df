import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { CustodyDraft } from '../../src/custody/custody-entry.ts'
import { CustodyLog, type CustodyLogOptions } from '../../src/custody/custody-log.ts'
import { loadSigningKey, type SigningKey } from '../../src/custody/signing-key.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'

/** A folder for one test, with a key beside the log. */
export function custodyPlace(): { readonly folder: string; readonly root: string; readonly key: SigningKey } {
  const root = mkdtempSync(join(tmpdir(), 'custody-test-'))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  return { root, folder: join(root, 'custody'), key: loadSigningKey(join(root, 'custody-key.pem')) }
}

export function custodyLog(
  place: { readonly folder: string; readonly key: SigningKey },
  changes: Partial<CustodyLogOptions> = {},
): CustodyLog {
  return new CustodyLog({
    folder: place.folder,
    node: 'node-a',
    key: place.key,
    clock: systemClock,
    logger: silentLogger,
    maxBytes: 1024 ** 3,
    ...changes,
  })
}

/** An entry that can be told from others by its number. */
export function draft(number: number, changes: Partial<CustodyDraft> = {}): CustodyDraft {
  return {
    actor: { user: 'alice', groups: ['responders'], address: '10.0.0.7', requestId: `request-${number}` },
    action: 'content',
    checkpoint: { id: '9f2c4e5a7b1d3c60', fileName: 'checkpoint-web_shop-counter.tar', sizeBytes: 264_704 },
    detail: { number },
    outcome: 'intended',
    ...changes,
  }
}

/** A log with so many entries, closed again. */
export async function writtenLog(
  place: { readonly folder: string; readonly key: SigningKey },
  count: number,
  changes: Partial<CustodyLogOptions> = {},
): Promise<void> {
  const log = custodyLog(place, changes)
  await log.start()
  for (let number = 1; number <= count; number += 1) await log.append(draft(number))
  await log.close()
}
