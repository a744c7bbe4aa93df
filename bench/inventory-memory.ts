import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readersOf } from '../test/support/reader-processes.ts'
import { fillArchiveFolder } from './archive-folder.ts'
import { announceRunTime, reportBounded } from './bounds.ts'
import { writeLargeArchive } from './large-archive.ts'
import { countInState, startAgent, waitForState, type RunningAgent } from './running-agent.ts'

// Memory as the kernel counts it, of the agent and of the processes that read archives for it, what they share once: at
// rest with many archives, after a minute of rest, and while one of 64 GiB is read and hashed.

const ARCHIVES = 10_000
const LARGE_BYTES = 64 * 1024 ** 3
/** The hash thread ends after five seconds without work. */
const REST_MS = 8_000
/** Its readers end after a minute without work. */
const READERS_GONE_MS = 70_000
/** Some GiB of it are hashed by then. */
const HASHING_MS = 3_000

announceRunTime('inventory-memory')
const folder = mkdtempSync(join(tmpdir(), 'checkpoint-bench-'))
try {
  fillArchiveFolder(join(folder, 'checkpoints'), ARCHIVES)
  const agent = await startAgent(folder)
  try {
    await waitForState(agent, 'ready', ARCHIVES)
    await sleep(REST_MS)
    const { rss, peak } = memoryOf(agent)
    const readers = readersOf(agent.pid)
    const together = [agent.pid, ...readers].reduce((sum, pid) => sum + proportionalMemoryOf(pid), 0)
    reportBounded({
      name: `inventory-memory, at rest with ${ARCHIVES} archives`,
      value: rss,
      bound: 120,
      unit: ' MiB',
      note: `the agent ${agent.program}, after it has had them read and has hashed them; ${peak.toFixed(0)} MiB at most until then`,
    })
    reportBounded({
      name: 'inventory-memory, agent and idle readers',
      value: together,
      bound: 120,
      unit: ' MiB',
      note: `with ${readers.length} of them`,
    })
    await sleep(READERS_GONE_MS - REST_MS)
    reportBounded({
      name: 'inventory-memory, readers after a minute of rest',
      value: readersOf(agent.pid).length,
      bound: 0,
      unit: '',
      note: `the agent alone takes ${memoryOf(agent).rss.toFixed(0)} MiB`,
    })
    await measureHashing(agent)
  } finally {
    await agent.kill9()
  }
} finally {
  rmSync(folder, { recursive: true })
}

async function measureHashing(agent: RunningAgent): Promise<void> {
  const name = 'checkpoint-web-0_shop-counter-2026-06-12T10:05:00Z.tar'
  writeLargeArchive(join(folder, name), LARGE_BYTES)
  renameSync(join(folder, name), join(agent.directory, name))
  let highest = 0
  for (const begun = performance.now(); performance.now() - begun < HASHING_MS; await sleep(50)) {
    highest = Math.max(highest, memoryOf(agent).rss)
  }
  if ((await countInState(agent, 'hashing')) !== 1) throw new Error('Cannot measure: the archive is not being hashed')
  reportBounded({
    name: 'inventory-memory, while 64 GiB are hashed',
    value: highest,
    bound: 150,
    unit: ' MiB',
    note: `the most in ${HASHING_MS / 1000} s, with the ${ARCHIVES} there`,
  })
}

/** In MiB; of what several processes share each has its part. */
function proportionalMemoryOf(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1]) / 1024
}

/** In MiB: now, and at most until now. */
function memoryOf({ pid }: RunningAgent): { readonly rss: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const read = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024
  return { rss: read('VmRSS'), peak: read('VmHWM') }
}
