import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ReaderProcesses } from '../src/agent/inspection/reader-processes.ts'
import { Inventory } from '../src/agent/inventory/inventory.ts'
import { NodeEvents } from '../src/agent/status/node-events.ts'
import { systemClock } from '../src/shared/clock.ts'
import { silentLogger } from '../src/shared/logger.ts'
import { CheckpointStore } from '../src/store/checkpoint-store.ts'
import { openDatabase } from '../src/store/database.ts'
import { JobStore } from '../src/store/job-store.ts'
import { fillArchiveFolder } from './archive-folder.ts'
import { announceRunTime, reportBounded } from './bounds.ts'
import { comparePaired, median, timed } from './paired.ts'
import { CHECKPOINTCTL, prepareCheckpointctl, runCheckpointctl } from './peer-checkpointctl.ts'

// Archives that the agent has never seen, from the first look at the folder until the last of them has its row in a
// database on disk. Their hashing begins meanwhile, as on a node. They are read in the reader's process, which has been
// started: a cold one adds some 60 ms to the first row.

const SMALL = 1_000
const LARGE = 10_000
const LARGE_ROUNDS = 3

announceRunTime('indexing')
const folder = mkdtempSync(join(tmpdir(), 'checkpoint-bench-'))
const readers = new Map<string, ReaderProcesses>()
try {
  const small = join(folder, 'small')
  fillArchiveFolder(small, SMALL)
  settleDisk()
  await compareWithPeer(small)
  const large = join(folder, 'large')
  fillArchiveFolder(large, LARGE)
  settleDisk()
  await compareSizes({ small, large })
} finally {
  for (const reader of readers.values()) await reader.close()
  rmSync(folder, { recursive: true })
}

/** One for all rounds, as an agent has. */
function readerOf(directory: string): ReaderProcesses {
  const reader =
    readers.get(directory) ?? new ReaderProcesses({ directory, stateDirectory: folder, logger: silentLogger })
  readers.set(directory, reader)
  return reader
}

async function compareWithPeer(directory: string): Promise<void> {
  const program = await prepareCheckpointctl()
  if (program === undefined) return
  await comparePaired({
    name: `indexing, ${SMALL} archives`,
    peerName: `${CHECKPOINTCTL} list`,
    pairs: 9,
    bound: 0.333,
    // The peer reads with as many threads as there are processors, and is twice as fast where nobody else wants them; on
    // slow processors the margin shrinks further. Slower than the peer is what fails.
    failingMargin: 3,
    ours: () => index(directory, SMALL),
    peer: () => timed(() => runCheckpointctl(program, 'list', directory)),
  })
}

async function compareSizes({ small, large }: { readonly small: string; readonly large: string }): Promise<void> {
  const ratios: number[] = []
  const millis: number[] = []
  for (let round = 0; round < LARGE_ROUNDS; round += 1) {
    const before = await index(small, SMALL)
    const all = await index(large, LARGE)
    const after = await index(small, SMALL)
    millis.push(all)
    ratios.push(all / LARGE / ((before + after) / 2 / SMALL))
  }
  reportBounded({
    name: `indexing, ${LARGE} archives`,
    value: median(ratios),
    bound: 1.3,
    unit: '',
    note: `the time of one of them : that of one of ${SMALL}, median of ${LARGE_ROUNDS}; ${Math.round(median(millis))} ms`,
  })
}

/** What is still being written would slow down both sides, the peer more: it makes files, a folder for each archive. */
function settleDisk(): void {
  execFileSync('sync')
}

/** Into a database of its own, which is removed at the end: that too keeps the disk busy. Gives the milliseconds until every archive has its row. */
async function index(directory: string, count: number): Promise<number> {
  const state = mkdtempSync(join(folder, 'state-'))
  const database = openDatabase({ file: join(state, 'index.db'), clock: systemClock, logger: silentLogger })
  const store = new CheckpointStore(database)
  const events = new NodeEvents()
  const { promise: allKnown, resolve } = Promise.withResolvers<number>()
  let known = 0
  // The row is there before its event.
  const ignore = events.watch(undefined, ({ type }) => {
    if (type === 'added' && (known += 1) === count) resolve(performance.now())
  })
  const begun = performance.now()
  const inventory = new Inventory({
    directory,
    store,
    jobs: new JobStore(database),
    reader: readerOf(directory),
    permissions: 'enforce',
    rescanMs: 3_600_000,
    events,
    clock: systemClock,
    logger: silentLogger,
  })
  try {
    const rescan = inventory.rescan()
    const ended = await allKnown
    await rescan
    const rows = Object.values(store.countByState()).reduce((sum, each) => sum + each, 0)
    if (rows !== count) throw new Error(`Cannot index "${directory}": ${rows} rows for ${count} archives`)
    return ended - begun
  } finally {
    ignore()
    await inventory.stop()
    database.close()
  }
}
