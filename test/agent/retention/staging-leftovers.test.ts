import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { STAGING_FOLDER } from '../../../src/agent/directory/staging.ts'
import { SHIPPED_POLICY, type Policy } from '../../../src/retention/policy.ts'
import { hangs } from '../../support/simulated-runtime-faults.ts'
import { startTestAgent, type TestAgent } from '../../support/test-agent.ts'

/** Sweeps each second, and finds nothing to remove. */
const EACH_SECOND: Policy = {
  ...SHIPPED_POLICY,
  schedule: '* * * * * *',
  rules: [],
  disk: { highWatermark: 1, lowWatermark: 1, minFreeBytes: 0 },
}

const HOUR_MS = 3_600_000

/** A folder in staging with the beginning of an archive. */
function leave(test: TestAgent, name: string, touched: { readonly folder: number; readonly file?: number }): string {
  const folder = join(test.folder.checkpoints, STAGING_FOLDER, name)
  const file = join(folder, 'archive.tar')
  mkdirSync(folder, { mode: 0o700 })
  if (touched.file !== undefined) {
    writeFileSync(file, 'the beginning')
    age(file, touched.file)
  }
  age(folder, touched.folder)
  return folder
}

function age(path: string, millis: number): void {
  const then = new Date(Date.now() - millis)
  utimesSync(path, then, then)
}

async function sweptTwice({ agent }: TestAgent): Promise<void> {
  const swept = () => agent.retention.history({ limit: 100 }).reports.length
  const before = swept()
  await vi.waitUntil(() => swept() >= before + 2, { timeout: 20_000 })
}

describe('folders in staging', () => {
  it('are removed by a sweep on schedule, when no capture claims them and nobody has touched them for an hour', async () => {
    await using test = await startTestAgent({ retention: { policy: EACH_SECOND } })
    // What an earlier run left is cleared at the start; these come later.
    await sweptTwice(test)
    const old = leave(test, 'old', { folder: 2 * HOUR_MS, file: 2 * HOUR_MS })
    const empty = leave(test, 'empty', { folder: 2 * HOUR_MS })
    const young = leave(test, 'young', { folder: HOUR_MS / 2, file: HOUR_MS / 2 })
    const written = leave(test, 'written', { folder: 2 * HOUR_MS, file: HOUR_MS / 2 })
    await sweptTwice(test)
    expect([old, empty].map((folder) => existsSync(folder))).toEqual([false, false])
    expect([young, written].map((folder) => existsSync(folder))).toEqual([true, true])
  })

  it('stay while their capture is under way, however long ago they were touched', async () => {
    await using test = await startTestAgent({ retention: { policy: EACH_SECOND } })
    test.runtime.webPod()
    test.runtime.faults.next(hangs)
    const wish = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'test' }
    await test.agent.captures.request(wish)
    await vi.waitUntil(() => test.leftovers().length === 1)
    for (const name of test.leftovers()) {
      const folder = join(test.folder.checkpoints, STAGING_FOLDER, name)
      for (const file of readdirSync(folder)) age(join(folder, file), 2 * HOUR_MS)
      age(folder, 2 * HOUR_MS)
    }
    await sweptTwice(test)
    expect(test.leftovers()).toHaveLength(1)
  })
})
