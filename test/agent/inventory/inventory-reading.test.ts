import { mkdirSync, renameSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Inventory } from '../../../src/agent/inventory/inventory.ts'
import type { ArchiveReader, SummaryOutcome } from '../../../src/agent/inspection/archive-reader.ts'
import { READER_VERSION } from '../../../src/agent/inspection/reader-limits.ts'
import { checkpointId } from '../../../src/checkpoint/checkpoint-id.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { CheckpointStore } from '../../../src/store/checkpoint-store.ts'
import { openDatabase } from '../../../src/store/database.ts'
import { JobStore } from '../../../src/store/job-store.ts'
import { writeArchive } from '../../support/archive-builder.ts'
import { inProcessReader } from '../../support/in-process-reader.ts'
import { makeTestFolder, type TestFolder } from '../../support/test-agent.ts'

const NAME = 'checkpoint-web-0_shop-counter-2026-11-20T10:00:00Z.tar'
const OTHER = 'checkpoint-web-1_shop-counter-2026-11-20T10:00:00Z.tar'

const TOO_EXPENSIVE: SummaryOutcome = {
  kind: 'too-expensive',
  problem: { code: 'TooExpensive', weight: 'note', detail: 'reading it takes more than 10 s of processor time' },
}

let folder: TestFolder
let store: CheckpointStore
let inventory: Inventory
let closeAll: (() => Promise<void>) | undefined
/** How often each archive was read, by name. */
let reads: Map<string, number>
let events: string[]

/** What the reader answers instead of reading, by name. */
let answers: Map<string, (read: number) => SummaryOutcome | Promise<SummaryOutcome> | undefined>

beforeEach(() => {
  folder = makeTestFolder()
  mkdirSync(folder.checkpoints, { mode: 0o700 })
  answers = new Map()
  reads = new Map()
  events = []
})

afterEach(async () => {
  await closeAll?.()
  closeAll = undefined
  folder.remove()
})

/** Made of summaries one by one, in the order given. */
function countingReader(): Pick<ArchiveReader, 'summarize' | 'summarizeAll'> {
  const reader = inProcessReader(folder.checkpoints)
  const summarize: ArchiveReader['summarize'] = async (file, options) => {
    const name = file.path.toString('latin1')
    const read = (reads.get(name) ?? 0) + 1
    reads.set(name, read)
    return (await answers.get(name)?.(read)) ?? (await reader.summarize(file, options))
  }
  return {
    summarize,
    summarizeAll: async (files, onOutcome) => {
      for (const [index, file] of files.entries()) onOutcome(index, await summarize(file, { lane: 'index' }))
    },
  }
}

async function startInventory(): Promise<void> {
  const database = openDatabase({ file: join(folder.state, 'index.db'), logger: silentLogger, clock: systemClock })
  store = new CheckpointStore(database)
  inventory = new Inventory({
    directory: folder.checkpoints,
    store,
    jobs: new JobStore(database),
    reader: countingReader(),
    permissions: 'enforce',
    rescanMs: 60_000,
    clock: systemClock,
    logger: silentLogger,
    settleMs: 100,
  })
  inventory.events.watch(undefined, ({ type }) => events.push(type))
  closeAll = async () => {
    await inventory.stop()
    database.close()
  }
  await inventory.rescan()
}

/** Old enough to be taken for finished at once. */
function writeOld(name: string): void {
  writeArchive(join(folder.checkpoints, name), {})
  utimesSync(join(folder.checkpoints, name), new Date('2026-01-01'), new Date('2026-01-01'))
}

const rowOf = (name: string) => store.find(checkpointId(name))

async function ready(name: string): Promise<void> {
  await vi.waitUntil(() => rowOf(name)?.state === 'ready', { timeout: 10_000, interval: 10 })
}

describe('an archive that is too expensive to read', () => {
  it('is listed with a note, hashed and not damaged', async () => {
    writeOld(NAME)
    answers.set(NAME, () => TOO_EXPENSIVE)
    await startInventory()
    await ready(NAME)
    expect(rowOf(NAME)).toMatchObject({
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      problems: [{ code: 'TooExpensive', weight: 'note' }],
      identity: { source: 'name', isTrusted: false },
      summary: { kind: 'unknown', givenUpBy: READER_VERSION },
    })
  })

  it('is not tried again by rescans and looks, nor at the next start, until it is another file', async () => {
    writeOld(NAME)
    answers.set(NAME, () => TOO_EXPENSIVE)
    await startInventory()
    await ready(NAME)
    await inventory.rescan()
    await inventory.refresh(Buffer.from(NAME))
    await closeAll?.()
    await startInventory()
    expect(reads.get(NAME)).toBe(1)
    answers.clear()
    writeOld(OTHER)
    renameSync(join(folder.checkpoints, OTHER), join(folder.checkpoints, NAME))
    await inventory.rescan()
    await ready(NAME)
    expect(reads.get(NAME)).toBe(2)
    expect(rowOf(NAME)?.problems).toEqual([])
  })

  it('is tried again by a reader of another version, and keeps its digest', async () => {
    writeOld(NAME)
    answers.set(NAME, () => TOO_EXPENSIVE)
    await startInventory()
    await ready(NAME)
    const row = rowOf(NAME)
    if (row === undefined) throw new Error('There is no row')
    store.saveAll([{ ...row, summary: { ...row.summary, givenUpBy: READER_VERSION - 1 } }])
    answers.clear()
    await inventory.rescan()
    expect(reads.get(NAME)).toBe(2)
    expect(rowOf(NAME)).toMatchObject({
      state: 'ready',
      sha256: row.sha256,
      problems: [],
      engine: 'containerd',
      identity: { source: 'archive' },
    })
  })
})

describe('an archive that is another one by the time it is read', () => {
  it('is looked at again at once', async () => {
    writeOld(NAME)
    answers.set(NAME, (read) => (read === 1 ? { kind: 'changed' } : undefined))
    await startInventory()
    await ready(NAME)
    expect(reads.get(NAME)).toBe(2)
    expect(events.filter((type) => type === 'added')).toHaveLength(1)
  })

  it('is left alone for a while when that goes on, and found in the end', async () => {
    writeOld(NAME)
    answers.set(NAME, (read) => (read <= 4 ? { kind: 'changed' } : undefined))
    await startInventory()
    expect(reads.get(NAME)).toBeLessThanOrEqual(3)
    await ready(NAME)
    expect(reads.get(NAME)).toBe(5)
  })

  it('does not hold up for ever who waits for it', async () => {
    await startInventory()
    writeOld(NAME)
    let isReplacedForEver = true
    answers.set(NAME, () => (isReplacedForEver ? { kind: 'changed' } : undefined))
    await inventory.refresh(Buffer.from(NAME))
    expect(rowOf(NAME)).toBeUndefined()
    isReplacedForEver = false
    await inventory.refresh(Buffer.from(NAME))
    expect(rowOf(NAME)).toMatchObject({ engine: 'containerd' })
  })
})

describe('an archive that cannot be read', () => {
  it('is listed with the error of the file system, and read again once that is over', async () => {
    writeOld(NAME)
    answers.set(NAME, () => ({ kind: 'unreadable', code: 'EIO' }))
    await startInventory()
    expect(rowOf(NAME)).toMatchObject({
      state: 'damaged',
      problems: [{ code: 'ReadFailed', weight: 'damage', detail: 'the file cannot be read to its end (EIO)' }],
    })
    answers.clear()
    await inventory.rescan()
    await ready(NAME)
    expect(rowOf(NAME)?.problems).toEqual([])
  })

  it('for want of descriptors is no damage: it is tried again', async () => {
    writeOld(NAME)
    answers.set(NAME, (read) => (read === 1 ? { kind: 'unreadable', code: 'EMFILE' } : undefined))
    await startInventory()
    expect(rowOf(NAME)).toBeUndefined()
    await ready(NAME)
    expect(rowOf(NAME)?.problems).toEqual([])
  })
})

describe('while the reader is at an archive for long', () => {
  it('those of its batch that were read before have their rows, and a look that somebody waits for goes first', async () => {
    const { promise: slow, resolve: goOn } = Promise.withResolvers<undefined>()
    writeOld(NAME)
    writeOld(OTHER)
    const lastName = 'checkpoint-web-2_shop-counter-2026-11-20T10:00:00Z.tar'
    const inOrder: string[] = []
    let isFirst = true
    const order = (name: string) => async () => {
      inOrder.push(name)
      // Whichever comes second is slow.
      if (!isFirst && inOrder.length === 2) await slow
      isFirst = false
      return undefined as never
    }
    for (const name of [NAME, OTHER]) answers.set(name, order(name))
    const started = startInventory()
    await vi.waitUntil(() => inOrder.length === 2, { timeout: 10_000, interval: 5 })
    const [read = '', stuck = ''] = inOrder
    await vi.waitUntil(() => rowOf(read) !== undefined, { timeout: 10_000, interval: 5 })
    expect(rowOf(stuck)).toBeUndefined()
    writeOld(lastName)
    await inventory.refresh(Buffer.from(lastName))
    expect(rowOf(lastName)).toBeDefined()
    // Even the one that the reader is at.
    await inventory.refresh(Buffer.from(stuck))
    expect(rowOf(stuck)).toBeDefined()
    goOn(undefined)
    await started
    for (const name of [NAME, OTHER, lastName]) await ready(name)
    expect(events.filter((type) => type === 'added')).toHaveLength(3)
  })

  it('what was found of one that is removed meanwhile is dropped', async () => {
    const { promise: slow, resolve: goOn } = Promise.withResolvers<undefined>()
    writeOld(NAME)
    await startInventory()
    await ready(NAME)
    const row = store.findFile(checkpointId(NAME))
    writeOld(OTHER)
    renameSync(join(folder.checkpoints, OTHER), join(folder.checkpoints, NAME))
    answers.set(NAME, async (read) => {
      if (read === 2) await slow
      return undefined as never
    })
    const rescan = inventory.rescan()
    await vi.waitUntil(() => reads.get(NAME) === 2, { timeout: 10_000, interval: 5 })
    rmSync(join(folder.checkpoints, NAME))
    inventory.forget(row === undefined ? [] : [row])
    goOn(undefined)
    await rescan
    await sleep(50)
    expect(rowOf(NAME)).toBeUndefined()
    expect(events.filter((type) => type === 'removed')).toHaveLength(1)
    expect(events.at(-1)).toBe('removed')
  })

  it('the inventory can be stopped', async () => {
    writeOld(NAME)
    answers.set(NAME, async () => await new Promise<never>(() => undefined))
    const started = startInventory()
    await vi.waitUntil(() => reads.get(NAME) === 1, { timeout: 10_000, interval: 5 })
    const waiting = inventory.refresh(Buffer.from(NAME))
    await inventory.stop()
    await Promise.all([started, waiting])
    expect(rowOf(NAME)).toBeUndefined()
  })
})
