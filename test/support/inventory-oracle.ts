import { createHash } from 'node:crypto'
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { vi } from 'vitest'
import { Inventory } from '../../src/agent/inventory/inventory.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { CheckpointStore } from '../../src/store/checkpoint-store.ts'
import { openDatabase } from '../../src/store/database.ts'
import { JobStore } from '../../src/store/job-store.ts'
import { inProcessReader } from './in-process-reader.ts'

export interface OpenInventory {
  readonly inventory: Inventory
  readonly store: CheckpointStore
  /** What is known of every archive, but for when it was found. */
  rows(): readonly object[]
  /** Whether nothing more is expected unless a file changes. */
  isQuiet(): boolean
  stop(): Promise<void>
}

/** One that is not started looks only when it is told to. */
export function openInventory(directory: string, { settleMs = 300, isStarted = true } = {}): OpenInventory {
  const state = mkdtempSync(join(tmpdir(), 'inventory-state-'))
  const database = openDatabase({ file: join(state, 'index.db'), logger: silentLogger, clock: systemClock })
  const store = new CheckpointStore(database)
  const inventory = new Inventory({
    directory,
    store,
    jobs: new JobStore(database),
    reader: inProcessReader(directory),
    permissions: 'enforce',
    rescanMs: 3_600_000,
    clock: systemClock,
    logger: silentLogger,
    settleMs,
  })
  if (isStarted) inventory.start()
  return {
    inventory,
    store,
    rows: () => [...allRows(store)].map((row) => ({ ...row, discoveredAt: undefined })),
    isQuiet: () => {
      const { discovered = 0, hashing = 0 } = store.countByState()
      return discovered + hashing === 0
    },
    async stop() {
      await inventory.stop()
      database.close()
      rmSync(state, { recursive: true })
    },
  }
}

/** Settled and hashed, and nothing more comes for a while. */
export async function quiet(inventory: OpenInventory): Promise<void> {
  await sleep(1_000)
  await vi.waitUntil(() => inventory.isQuiet(), { timeout: 60_000, interval: 50 })
  await sleep(500)
  await vi.waitUntil(() => inventory.isQuiet(), { timeout: 60_000, interval: 50 })
}

function* allRows(store: CheckpointStore) {
  const query = { filter: {}, order: { key: 'fileName', isDescending: false }, limit: 1000 } as const
  for (let page = store.list(query); ; page = store.list({ ...query, after: page.next })) {
    yield* page.items
    if (page.next === undefined) return
  }
}

/** Names and digests of the archives, by the file system alone. */
export function digestsIn(directory: string): ReadonlyMap<string, string> {
  return new Map(
    archivesIn(directory).map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(directory, name)))
        .digest('hex'),
    ]),
  )
}

export function archivesOpenToOthers(directory: string): string[] {
  return archivesIn(directory).filter((name) => (lstatSync(join(directory, name)).mode & 0o077) !== 0)
}

function archivesIn(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.tar') && !name.startsWith('.'))
    .filter((name) => lstatSync(join(directory, name)).isFile())
}
