import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CheckpointList, CheckpointResponse } from '../../src/api/checkpoint-schemas.ts'
import { AGE_IDENTITIES } from '../support/age-program.ts'
import { startAgentProcess, type AgentProcess, type Settings } from '../support/agent-process.ts'
import { writeArchive } from '../support/archive-builder.ts'
import { download, openDownload } from '../support/download.ts'
import { installPrograms } from './harness/client-programs.ts'
import { openFiles, rssMib } from './support/process-state.ts'

// Readers that are slow, that leave, or whose archive goes: against the agent as a process of its own.

const MIB = 1024 * 1024
const SIZE_MIB = 32
const SLOW = 200
const ABORTED = 1000
const AT_ONCE = 40

/** Some MiB come and go with the buffers of 200 connections; half a MiB for each reader would be 100. */
const GROWTH_MIB = 40

/** With room to spare Node puts off tidying up, and what is kept for good cannot be told from what is not yet freed. */
const SMALL_HEAP = ['--max-old-space-size=64', '--max-semi-space-size=4']

const FORMS = [
  { form: 'plain', query: '', headers: {} },
  { form: 'gzip', query: '', headers: { 'accept-encoding': 'gzip' } },
  { form: 'zstd', query: '', headers: { 'accept-encoding': 'zstd' } },
  { form: 'age', query: `?recipient=${AGE_IDENTITIES[0]?.recipient ?? ''}`, headers: {} },
] as const

let folder: string
let directory: string
let model: string
let agent: AgentProcess | undefined
const clients: ChildProcess[] = []

beforeAll(async () => {
  await installPrograms('curl')
  folder = mkdtempSync(join(tmpdir(), 'e2e-readers-'))
  directory = join(folder, 'checkpoints')
  mkdirSync(directory, { mode: 0o700 })
  model = join(folder, 'model.tar')
  // As large packed as it is plain: CRI-O does not pack what was changed.
  writeArchive(model, { engine: 'cri-o', changedFiles: new Map([['tmp/noise', randomBytes(SIZE_MIB * MIB)]]) })
})

afterAll(async () => {
  for (const client of clients) client.kill('SIGKILL')
  await agent?.kill9()
  rmSync(folder, { recursive: true, force: true })
})

describe('with room for hundreds of readers', () => {
  beforeAll(() => startAgent({ 'content.concurrency': 500, 'content.perUser': 500 }))

  it(`${SLOW} readers of 1 KiB/s cost little memory, hold up no list, and leave nothing open`, async () => {
    const { path, url } = await archive('slow')
    for (const { query, headers } of FORMS) await download(url + query, { headers })
    const before = { rss: rssMib(running().pid), open: openFiles(running().pid).length }

    const curl = startSlowReaders(url)
    await expect.poll(() => readersOf(path), { timeout: 30_000 }).toBe(SLOW)
    const lists: number[] = []
    const rss: number[] = []
    for (let second = 0; second < 15; second += 1) {
      for (let call = 0; call < 10; call += 1) lists.push(await timeOfList())
      rss.push(rssMib(running().pid))
      await sleep(1000)
    }
    expect(readersOf(path)).toBe(SLOW)
    curl.kill('SIGKILL')

    lists.sort((a, b) => a - b)
    const [median = Infinity, slowest = Infinity] = [lists[lists.length / 2], lists.at(-1)]
    console.log(
      `resident memory: ${before.rss} MiB before, at most ${Math.max(...rss)} MiB with ${SLOW} slow readers; ` +
        `a list: ${median.toFixed(1)} ms in the middle, ${slowest.toFixed(1)} ms at worst`,
    )
    expect(Math.max(...rss) - before.rss).toBeLessThan(GROWTH_MIB)
    expect(median).toBeLessThan(100)
    expect(slowest).toBeLessThan(1000)
    await expect.poll(() => readersOf(path)).toBe(0)
    await expect.poll(() => openFiles(running().pid).length).toBeLessThanOrEqual(before.open)
  })

  it(`${ABORTED} readers that leave at any moment leave nothing open, no memory, and no archive in use`, async () => {
    const { id, path, url } = await archive('aborted')
    await abortReaders(url, 200)
    await expect.poll(() => readersOf(path)).toBe(0)
    const before = { rss: rssMib(running().pid), open: openFiles(running().pid).length }

    const left = await abortReaders(url, ABORTED)
    // Some were refused nothing and got some of it: else nothing was aborted.
    expect(left.withBytes).toBeGreaterThan(ABORTED / 4)
    expect(left.whole).toBe(0)
    await expect.poll(() => readersOf(path)).toBe(0)
    await expect.poll(() => openFiles(running().pid).length).toBeLessThanOrEqual(before.open)
    const rss = rssMib(running().pid)
    console.log(`resident memory: ${before.rss} MiB before, ${rss} MiB after ${ABORTED} readers that left`)
    expect(rss - before.rss).toBeLessThan(GROWTH_MIB)

    expect(await remove(id)).toBe(204)
  })

  describe.each(FORMS)('an archive that is being read: $form', ({ form, query, headers }) => {
    it('is not removed through the API, and the reader gets all of it', async () => {
      const { id, url } = await archive(`kept-${form}`)
      const answer = await openDownload(url + query, { headers })
      expect(answer.statusCode).toBe(200)
      const refused = await running().request('DELETE', `/v1/checkpoints/${id}`)
      expect(refused.json()).toMatchObject({ status: 409, code: 'InUse' })
      await readAll(answer)
      expect(answer.complete).toBe(true)
      await expect.poll(() => remove(id)).toBe(204)
    })

    it.each(['removed', 'cut', 'written over'] as const)(
      '%s by hand, it never ends as if it were whole',
      async (how) => {
        const { path, url } = await archive(`${how.replace(' ', '-')}-${form}`)
        const answer = await openDownload(url + query, { headers })
        expect(answer.statusCode).toBe(200)
        if (how === 'removed') rmSync(path)
        else if (how === 'cut') truncateSync(path, MIB)
        else writeFileSync(path, 'x', { flag: 'r+' })
        await expect(readAll(answer)).rejects.toThrow('aborted')
        expect(answer.complete).toBe(false)
      },
    )
  })
})

describe('with little room', () => {
  it('a reader does not protect its archive when content.maxHold is 0s', async () => {
    await startAgent({ 'content.maxHold': '0s' })
    const { id, url } = await archive('not-held')
    const answer = await openDownload(url)
    expect(await remove(id)).toBe(204)
    await expect(readAll(answer)).rejects.toThrow('aborted')
  })

  it('a reader protects its archive for content.maxHold, and no longer', async () => {
    await startAgent({ 'content.maxHold': '3s' })
    const { id, url } = await archive('held')
    const answer = await openDownload(url)
    expect(await remove(id)).toBe(409)
    await expect.poll(() => remove(id)).toBe(204)
    await expect(readAll(answer)).rejects.toThrow('aborted')
  })

  it('a user with as many readers as allowed is told when to come again', async () => {
    await startAgent({ 'content.perUser': 2, 'content.concurrency': 3 })
    const { url } = await archive('limited')
    const readers = [await openDownload(url), await openDownload(url)]
    const refused = await download(url)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect(JSON.parse(refused.body.toString())).toMatchObject({ code: 'TooManyDownloads' })
    // Another user, over the socket: the third place is theirs.
    const id = new URL(url).pathname
    const other = await running().request('GET', id, { overSocket: true, headers: { range: 'bytes=0-0' } })
    expect(other.status).toBe(206)
    for (const reader of readers) reader.destroy()
    await expect.poll(async () => (await download(url, { headers: { range: 'bytes=0-0' } })).status).toBe(206)
  })
})

async function startAgent(settings: Settings): Promise<void> {
  await agent?.kill9()
  agent = await startAgentProcess({
    folder: join(folder, `agent-${Object.values(settings).join('-')}`),
    settings: { 'checkpoints.directory': directory, 'runtime.socket': join(folder, 'none.sock'), ...settings },
    nodeOptions: SMALL_HEAP,
  })
}

function running(): AgentProcess {
  if (agent === undefined) throw new Error('no agent runs')
  return agent
}

/** A whole archive of its own for each test, once the agent knows its digest. */
async function archive(pod: string): Promise<{ id: string; path: string; url: string }> {
  const fileName = `checkpoint-${pod}_shop-counter-2026-01-31T12:00:00Z.tar`
  const path = join(directory, fileName)
  const copy = join(folder, fileName)
  copyFileSync(model, copy)
  // Renamed into place it is finished at once.
  renameSync(copy, path)
  for (const began = performance.now(); performance.now() - began < 60_000; await sleep(50)) {
    const found = (await list()).find((item) => item.fileName === fileName && item.state === 'ready')
    if (found === undefined) continue
    return { id: found.id, path, url: `http://127.0.0.1:${running().port}/v1/checkpoints/${found.id}/archive` }
  }
  throw new Error(`${fileName} is not ready after 60 s`)
}

async function list(): Promise<readonly CheckpointResponse[]> {
  return (await running().request('GET', '/v1/checkpoints?limit=100')).json<CheckpointList>().items
}

async function timeOfList(): Promise<number> {
  const began = performance.now()
  await list()
  return performance.now() - began
}

async function remove(id: string): Promise<number> {
  return (await running().request('DELETE', `/v1/checkpoints/${id}`)).status
}

function readersOf(path: string): number {
  return openFiles(running().pid).filter((open) => open === path).length
}

/** One curl for all of them. */
function startSlowReaders(url: string): ChildProcess {
  const config = join(folder, 'slow-readers')
  writeFileSync(config, `url = "${url}"\noutput = "/dev/null"\n`.repeat(SLOW))
  const options = ['--parallel', '--parallel-immediate', '--parallel-max', `${SLOW}`, '--limit-rate', '1K']
  const curl = spawn('curl', ['-sS', ...options, '-K', config], { stdio: 'ignore' })
  clients.push(curl)
  return curl
}

/** Some leave before the first byte, the others somewhere in the first MiB. */
async function abortReaders(url: string, count: number): Promise<{ withBytes: number; whole: number }> {
  const left = { withBytes: 0, whole: 0 }
  let begun = 0
  const client = async () => {
    while (begun < count) {
      const { query, headers } = FORMS[begun % FORMS.length] ?? FORMS[0]
      begun += 1
      const { bytes, isWhole } = await abortReader(url + query, headers)
      if (bytes > 0) left.withBytes += 1
      if (isWhole) left.whole += 1
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client))
  return left
}

async function abortReader(url: string, headers: Record<string, string>): Promise<{ bytes: number; isWhole: boolean }> {
  return await new Promise((resolve) => {
    let bytes = 0
    let isWhole = false
    const sent = request(url, { headers, agent: false }, (answer) => {
      const enough = Math.random() * MIB
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes >= enough) sent.destroy()
      })
      answer.on('end', () => (isWhole = true))
      answer.on('error', () => undefined)
    })
    sent.on('error', () => undefined)
    sent.on('close', () => resolve({ bytes, isWhole }))
    sent.end()
    if (Math.random() < 0.3) setTimeout(() => sent.destroy(), Math.random() * 100)
  })
}

async function readAll(answer: IncomingMessage): Promise<void> {
  for await (const _ of answer);
}
