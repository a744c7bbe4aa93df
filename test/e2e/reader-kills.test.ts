import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { checkpointId } from '../../src/checkpoint/checkpoint-id.ts'
import type { CheckpointList, CheckpointResponse } from '../../src/api/checkpoint-schemas.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { writeArchive } from '../support/archive-builder.ts'
import { compileAgentOnce } from '../support/compiled-agent.ts'
import { readersOf } from '../support/reader-processes.ts'
import type { Tar } from '../support/tar-writer.ts'
import { IS_SOAK, repetitions } from './support/soak.ts'

// Whatever ends the process that reads archives, and however often: the list in the end is the same, and who asks
// meanwhile is told something that can be acted on.

const ARCHIVES = 1_000
const KILLS = repetitions()
/** These are touched again and again, so that there is always something to read; the others are what callers ask for. */
const isTouched = (index: number) => index % 2 === 0
const OLD = new Date('2026-11-20T16:01:09Z')
/** One for the index and two for callers, for a minute; those that unpack end with their caller. */
const IDLE_READERS = 3
const MEMBER = 'checkpoint/pages-1.img'

let folder: string
let checkpoints: string
let model: Tar

compileAgentOnce()
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'reader-kills-'))
  checkpoints = join(folder, 'checkpoints')
  mkdirSync(checkpoints, { mode: 0o700 })
  writeArchives()
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const nameOf = (index: number) => `checkpoint-web-${index}_shop-counter-2026-01-31T12:00:00Z.tar`
const isPacked = (index: number) => index % 5 === 1

/** Most are whole, every fifth is packed, some are cut off, some are no archives at all. */
function writeArchives(): void {
  const plain = join(folder, 'plain.tar')
  const packed = join(folder, 'packed.tar')
  model = writeArchive(plain, { namespace: 'shop', pod: 'web-1', container: 'counter' })
  writeFileSync(packed, gzipSync(readFileSync(plain)), { mode: 0o600 })
  for (let index = 0; index < ARCHIVES; index += 1) {
    const path = join(checkpoints, nameOf(index))
    if (index % 50 === 7) writeFileSync(path, 'this is no archive. '.repeat(1000), { mode: 0o600 })
    else copyFileSync(isPacked(index) ? packed : plain, path)
    if (index % 100 === 50) truncateSync(path, statSync(path).size / 2)
    utimesSync(path, OLD, OLD)
  }
}

async function start(state: string): Promise<AgentProcess> {
  return await startAgentProcess({
    folder: join(folder, state),
    settings: { 'checkpoints.directory': checkpoints, 'runtime.socket': join(folder, 'no-runtime.sock') },
  })
}

async function list(agent: AgentProcess): Promise<readonly CheckpointResponse[]> {
  const answer = await agent.request('GET', '/v1/checkpoints?limit=1000&sort=fileName')
  expect(answer.status).toBe(200)
  return answer.json<CheckpointList>().items
}

async function count(agent: AgentProcess, query: string): Promise<number> {
  const { items, remaining } = (await agent.request('GET', `/v1/checkpoints?limit=1${query}`)).json<CheckpointList>()
  return items.length + remaining
}

/** Everything but when it was found, once every digest is there and the files are as they were before. */
async function settledList(agent: AgentProcess): Promise<readonly object[]> {
  await vi.waitUntil(
    async () => {
      const counts = await Promise.all(['', '&state=discovered', '&state=hashing'].map((query) => count(agent, query)))
      return counts.join() === `${ARCHIVES},0,0`
    },
    { timeout: 300_000, interval: 250 },
  )
  return (await list(agent)).map((row) => ({ ...row, discoveredAt: undefined }))
}

interface Answers {
  /** How many of each kind: `members 200`, `download 409 CheckpointChanged`. */
  readonly counts: Map<string, number>
  readonly wrong: string[]
}

const QUESTIONS = ['list', 'members', 'rootfs-diff', 'download'] as const
const BELOW = { members: '/members', 'rootfs-diff': '/rootfs-diff', download: `/members/${MEMBER}` } as const

/** Asks for one thing after the other until it is told to stop. */
async function ask(agent: AgentProcess, { counts, wrong }: Answers, signal: AbortSignal): Promise<void> {
  const { offset, sizeBytes } = model.members.find(({ name }) => name === MEMBER) ?? { offset: 0, sizeBytes: 0 }
  const expected = Buffer.concat([...model.chunks()])
    .subarray(offset, offset + sizeBytes)
    .toString()
  for (let round = 0; !signal.aborted; round += 1) {
    const index = 1 + 10 * Math.floor(Math.random() * (ARCHIVES / 10))
    const below = `/v1/checkpoints/${checkpointId(nameOf(index))}`
    const what = QUESTIONS[round % QUESTIONS.length] ?? 'list'
    const path = what === 'list' ? '/v1/checkpoints?limit=10' : below + BELOW[what]
    const answer = await agent.request('GET', path).catch((error: unknown) => String(error))
    if (typeof answer === 'string') {
      wrong.push(`${what}: ${answer}`)
      continue
    }
    const { status, text } = answer
    const code = status === 200 ? '' : String(answer.json<{ code?: string }>().code)
    const key = `${what} ${status} ${code}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
    if (status === 200 && what === 'download' && text !== expected) wrong.push(`${what} of ${index}: other bytes`)
    if (status >= 500 && status !== 503) wrong.push(`${key}: ${text}`)
    if (status !== 200 && !/^[A-Z][A-Za-z]+$/.test(code)) wrong.push(`${key}: ${text}`)
  }
}

/** How far it has come: archives that are known, then answers out of them. */
async function progress(agent: AgentProcess, { counts }: Answers): Promise<number> {
  const answers = [...counts].filter(([key]) => key.endsWith(' 200 ') && !key.startsWith('list'))
  return (await count(agent, '')) + answers.reduce((sum, [, times]) => sum + times, 0)
}

/**
 * Ends a reader now and then: every fourth right after the one before, the others once something was read again. Who
 * ends each before it has begun keeps it from reading anything, and shows nothing.
 */
async function killReaders(agent: AgentProcess, answers: Answers): Promise<number> {
  let kills = 0
  for (const begun = performance.now(); kills < KILLS && performance.now() - begun < KILLS * 15_000;) {
    // The first half of them meets the index being made, the other one callers.
    if (kills === KILLS / 2) {
      await vi.waitUntil(async () => (await count(agent, '')) === ARCHIVES, { timeout: 120_000, interval: 100 })
    }
    const before = await progress(agent, answers)
    if (kills % 4 !== 3) {
      await vi.waitUntil(async () => (await progress(agent, answers)) > before, { timeout: 30_000, interval: 20 })
    }
    await sleep(Math.random() * 300)
    const readers = readersOf(agent.pid)
    const reader = readers[Math.floor(Math.random() * readers.length)]
    if (reader === undefined) continue
    try {
      process.kill(reader, 'SIGKILL')
      kills += 1
    } catch {
      // It has ended by itself.
    }
  }
  return kills
}

/** Each round makes all of them another generation. */
async function touchAgainAndAgain(signal: AbortSignal): Promise<void> {
  for (let round = 1; !signal.aborted; round += 1) {
    const time = new Date(OLD.getTime() + round * 1000)
    for (let index = 0; index < ARCHIVES; index += 1) {
      if (isTouched(index)) utimesSync(join(checkpoints, nameOf(index)), time, time)
      if (index % 100 === 0) await sleep(20)
    }
  }
}

const descriptorsOf = (pid: number) => readdirSync(`/proc/${pid}/fd`).length

it(
  `the list is the same when the reader is killed ${KILLS} times while a thousand archives are indexed and read`,
  { timeout: IS_SOAK ? 3_600_000 : 600_000 },
  async () => {
    const before = await start('undisturbed')
    const undisturbed = await settledList(before)
    expect(await before.sigterm()).toBe(0)

    const agent = await start('disturbed')
    try {
      const answers: Answers = { counts: new Map(), wrong: [] }
      const stop = new AbortController()
      const callers = Promise.all([
        touchAgainAndAgain(stop.signal),
        ...Array.from({ length: 3 }, () => ask(agent, answers, stop.signal)),
      ])
      const kills = await killReaders(agent, answers)
      stop.abort()
      await callers
      for (let index = 0; index < ARCHIVES; index += 1) utimesSync(join(checkpoints, nameOf(index)), OLD, OLD)
      console.log(`${kills} kills:`, Object.fromEntries(answers.counts))
      expect(answers.wrong).toEqual([])
      expect(kills).toBe(KILLS)
      // Callers had their answers all the while.
      for (const what of QUESTIONS) {
        expect(answers.counts.get(`${what} 200 `) ?? 0).toBeGreaterThan(0)
      }
      // Touched to the very time that they had first.
      await expect.poll(() => settledList(agent), { timeout: 300_000, interval: 1_000 }).toEqual(undisturbed)

      await vi.waitUntil(() => readersOf(agent.pid).length <= IDLE_READERS, { timeout: 30_000, interval: 100 })
      const descriptors = descriptorsOf(agent.pid)
      for (let round = 0; round < 5; round += 1) {
        for (const reader of readersOf(agent.pid)) process.kill(reader, 'SIGKILL')
        const id = checkpointId(nameOf(1))
        await vi.waitUntil(async () => (await agent.request('GET', `/v1/checkpoints/${id}/members`)).status === 200, {
          timeout: 30_000,
          interval: 50,
        })
      }
      expect(descriptorsOf(agent.pid)).toBeLessThanOrEqual(descriptors + 3)
    } finally {
      await agent.sigterm()
    }
    expect(readersWithin(checkpoints)).toEqual([])
  },
)

/** Readers of any agent, by the directory that they were given. */
function readersWithin(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(directory)
      } catch {
        return false
      }
    })
}
