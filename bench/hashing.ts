import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { lstatSync, mkdtempSync, openSync, closeSync, renameSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generationOf } from '../src/checkpoint/generation.ts'
import { HashQueue } from '../src/agent/hashing/hash-queue.ts'
import { fillArchiveFolder } from './archive-folder.ts'
import { announceRunTime, formatFigure, quantile, reportBounded } from './bounds.ts'
import { writeLargeArchive } from './large-archive.ts'
import { comparePaired, median, timed } from './paired.ts'
import { countInState, startAgent, waitForState, type RunningAgent } from './running-agent.ts'

// How fast the thread reads and hashes a file that is in the page cache, and what callers of the API notice of it. The
// thread has the lowest priority there is, so on a busy machine it is slower than the peer, and that is meant.

const GIB = 1024 ** 3
const ARCHIVES = 1_000
const REQUESTS = 300
/** Each with requests of its own, so that one disturbance of the machine does not decide. */
const ROUNDS = 3

announceRunTime('hashing')
const folder = mkdtempSync(join(tmpdir(), 'checkpoint-bench-'))
try {
  await compareThroughput(join(folder, 'warm'))
  await measureAnswers()
} finally {
  rmSync(folder, { recursive: true })
}

async function compareThroughput(file: string): Promise<void> {
  writeBytes(file, GIB)
  const queue = new HashQueue()
  const order = { path: Buffer.from(file), generation: generationOf(lstatSync(file, { bigint: true })) }
  try {
    await comparePaired({
      name: 'hashing, 1 GiB',
      peerName: 'openssl dgst -sha256',
      pairs: 5,
      bound: 1 / 0.95,
      ours: () =>
        timed(async () => {
          const answer = await queue.hash(order)
          if (answer.kind !== 'done') throw new Error(`Cannot hash the file: ${answer.kind}`)
        }),
      peer: () => timed(() => runOpenssl(file)),
    })
  } finally {
    await queue.close()
    rmSync(file)
  }
}

/** The list, while an archive is hashed that takes longer than all of the requests. */
async function measureAnswers(): Promise<void> {
  fillArchiveFolder(join(folder, 'checkpoints'), ARCHIVES)
  const agent = await startAgent(folder)
  try {
    await waitForState(agent, 'ready', ARCHIVES)
    const idle = await measureRounds(agent)
    const name = 'checkpoint-web-0_shop-counter-2026-06-12T10:05:00Z.tar'
    writeLargeArchive(join(folder, name), 64 * GIB)
    renameSync(join(folder, name), join(agent.directory, name))
    await waitForState(agent, 'hashing', 1)
    const busy = await measureRounds(agent)
    if ((await countInState(agent, 'hashing')) === 0) throw new Error('Cannot measure: the archive is hashed already')
    reportBounded({
      name: 'hashing, GET /v1/checkpoints meanwhile',
      value: busy.p99,
      bound: 25,
      unit: ' ms',
      note: `p99 of ${REQUESTS}, the median of ${ROUNDS}, with ${ARCHIVES} archives; p50 ${format(busy.p50)}; without hashing p99 ${format(idle.p99)}, p50 ${format(idle.p50)}`,
    })
  } finally {
    await agent.kill9()
  }
}

/** Medians of the rounds. */
async function measureRounds(agent: RunningAgent): Promise<{ readonly p50: number; readonly p99: number }> {
  const rounds: (readonly number[])[] = []
  for (let round = 0; round < ROUNDS; round += 1) rounds.push(await answerTimes(agent))
  return { p50: median(rounds.map(median)), p99: median(rounds.map((times) => quantile(times, 0.99))) }
}

async function answerTimes(agent: RunningAgent): Promise<readonly number[]> {
  const times: number[] = []
  for (let count = 0; count < REQUESTS; count += 1) times.push(await timed(() => agent.get('/v1/checkpoints')))
  return times
}

function format(millis: number): string {
  return `${formatFigure(millis)} ms`
}

async function runOpenssl(file: string): Promise<void> {
  const child = spawn('openssl', ['dgst', '-sha256', file], { stdio: ['ignore', 'ignore', 'inherit'] })
  const [exitCode] = (await once(child, 'exit')) as [number | null]
  if (exitCode !== 0) throw new Error(`openssl ended with ${exitCode ?? 'a signal'}`)
}

function writeBytes(path: string, sizeBytes: number): void {
  const chunk = Buffer.alloc(16 * 1024 ** 2, 'memory of a container ')
  const file = openSync(path, 'w', 0o600)
  for (let written = 0; written < sizeBytes; written += chunk.length) writeSync(file, chunk)
  closeSync(file)
}
