import { createHash } from 'node:crypto'
import {
  appendFileSync,
  closeSync,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { CheckpointList, CheckpointResponse } from '../../src/api/checkpoint-schemas.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { counterProcesses, writeArchive } from '../support/archive-builder.ts'

// Whoever else writes into the directory, in whatever way: no archive is ever shown as more than it is.

const MIB = 1024 * 1024
/** What is watched for changes takes at least a second. */
const SETTLING_MS = 900
const PATIENCE = { timeout: 30_000, interval: 50 }

let folder: string
let checkpoints: string
let outside: string
let agent: AgentProcess
let path: string
let made = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'foreign-writers-'))
  checkpoints = join(folder, 'checkpoints')
  outside = join(folder, 'outside')
  for (const name of [checkpoints, outside]) mkdirSync(name, { mode: 0o700 })
  agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: { 'checkpoints.directory': checkpoints, 'runtime.socket': join(folder, 'none.sock') },
  })
  newPath()
})

afterEach(() => {
  rmSync(path, { force: true })
  newPath()
})

afterAll(async () => {
  await agent.kill9()
  rmSync(folder, { recursive: true })
})

function newPath(): void {
  made += 1
  path = join(checkpoints, `checkpoint-web-${made}_shop-counter-2026-01-31T12:00:00Z.tar`)
}

/** An archive of about this size, elsewhere on the same file system. */
function model(name: string, memoryBytes: number): { readonly file: string; readonly bytes: Buffer } {
  const file = join(outside, `${name}.tar`)
  writeArchive(file, {
    namespace: 'shop',
    pod: `web-${made}`,
    container: 'counter',
    processes: counterProcesses(memoryBytes),
  })
  return { file, bytes: readFileSync(file) }
}

async function row(): Promise<CheckpointResponse | undefined> {
  const { items } = (await agent.request('GET', `/v1/checkpoints?pod=web-${made}`)).json<CheckpointList>()
  const all = (await agent.request('GET', '/v1/checkpoints')).json<CheckpointList>().items
  return items[0] ?? all.find(({ fileName }) => path.endsWith(fileName))
}

async function digest(): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** Its state; "proven" is ready with the digest that the file has. */
async function state(): Promise<string | undefined> {
  const found = await row()
  if (found?.state !== 'ready') return found?.state
  return found.sha256 === (await digest()) ? 'proven' : 'ready'
}

/** What it was shown as while this was done to it. */
async function statesDuring(work: Promise<unknown>): Promise<Set<string | undefined>> {
  const seen = new Set<string | undefined>()
  const look = setInterval(() => {
    void row().then((found) => seen.add(found?.state))
  }, 20)
  try {
    await work
  } finally {
    clearInterval(look)
  }
  return seen
}

async function write(bytes: Buffer, { perSecond, flags = 'w' }: { perSecond: number; flags?: string }): Promise<void> {
  const file = openSync(path, flags, 0o600)
  const step = Math.ceil(perSecond / 20)
  for (let at = 0; at < bytes.length; at += step) {
    writeSync(file, bytes, at, Math.min(step, bytes.length - at))
    await sleep(50)
  }
  closeSync(file)
}

describe('an archive that somebody else writes', () => {
  it('at 1 MiB a second is ready after its end and never before', async () => {
    const { bytes } = model('slow', 5 * MIB)
    const seen = await statesDuring(write(bytes.subarray(0, -1024), { perSecond: MIB }))
    seen.delete(undefined)
    expect(seen).toEqual(new Set(['incomplete']))
    appendFileSync(path, bytes.subarray(-1024))
    await expect.poll(state, PATIENCE).toBe('proven')
  })

  it('and leaves half way is incomplete, and stays so', async () => {
    const { bytes } = model('half', MIB)
    await write(bytes.subarray(0, bytes.length / 2), { perSecond: 20 * MIB })
    await expect.poll(state, PATIENCE).toBe('incomplete')
    await sleep(3_000)
    const found = await row()
    expect(found).toMatchObject({ state: 'incomplete', sizeBytes: Math.floor(bytes.length / 2) })
    // Its age.
    expect(Date.now() - Date.parse(found?.discoveredAt ?? '')).toBeGreaterThan(3_000)
    expect(found).not.toHaveProperty('sha256')
  })

  it('elsewhere and renames into place is finished at once', async () => {
    const times: number[] = []
    // A busy machine may take as long for something else; watched for changes it would take longer every time.
    while (times.length < 5 && !times.some((millis) => millis < SETTLING_MS)) {
      newPath()
      const { file } = model(`renamed-${times.length}`, MIB)
      await sleep(20)
      renameSync(file, path)
      const begun = performance.now()
      await expect.poll(state, PATIENCE).toBe('proven')
      times.push(performance.now() - begun)
      rmSync(path)
    }
    expect(Math.min(...times)).toBeLessThan(SETTLING_MS)
  })

  it('over a longer one, whose end stays behind it, is read as the new one, and the rest is named', async () => {
    const [long, short] = [model('long', 4 * MIB), model('short', MIB)]
    renameSync(long.file, path)
    await expect.poll(state, PATIENCE).toBe('proven')
    expect((await row())?.problems).toEqual([])
    await write(short.bytes, { perSecond: 4 * MIB, flags: 'r+' })
    expect(statSync(path).size).toBe(long.bytes.length)
    await expect.poll(async () => (await row())?.problems.map(({ code }) => code), PATIENCE).toEqual(['TrailingBytes'])
    await expect.poll(state, PATIENCE).toBe('proven')
    expect(await row()).toMatchObject({ memoryBytes: expect.toSatisfy((bytes) => Number(bytes) < 2 * MIB) as number })
  })

  it('over a longer one, which is cut off first, is the new one', async () => {
    const [long, short] = [model('long', 4 * MIB), model('short', MIB)]
    renameSync(long.file, path)
    await expect.poll(state, PATIENCE).toBe('proven')
    await write(short.bytes, { perSecond: 4 * MIB })
    await expect.poll(async () => (await row())?.sizeBytes, PATIENCE).toBe(short.bytes.length)
    await expect.poll(state, PATIENCE).toBe('proven')
    expect((await row())?.problems).toEqual([])
  })

  it('again and again, each time another one, ends as the last one', async () => {
    const models = [1, 2, 3].map((size) => model(`again-${size}`, size * MIB))
    for (let round = 0; round < 20; round += 1) {
      const { bytes } = models[round % models.length] ?? { bytes: Buffer.alloc(0) }
      const file = openSync(path, 'w')
      writeSync(file, bytes)
      closeSync(file)
      await sleep(round * 10)
    }
    await expect.poll(state, PATIENCE).toBe('proven')
  })
})

describe('an archive that is being hashed', () => {
  const HASHED_MIB = 1024

  it.each([
    { what: 'deleted', end: undefined, act: () => rmSync(path) },
    {
      what: 'replaced by another one',
      end: 'proven',
      act: () => {
        renameSync(model('other', MIB).file, path)
      },
    },
    {
      what: 'changed in place',
      end: 'proven',
      act: () => {
        const file = openSync(path, 'r+')
        writeSync(file, Buffer.from('changed'), 0, 7, 700_000)
        closeSync(file)
      },
    },
  ])('is known as what it is when it is $what meanwhile', async ({ end, act }) => {
    renameSync(model('large', HASHED_MIB * MIB).file, path)
    await expect.poll(state, { timeout: 10_000, interval: 5 }).toBe('hashing')
    await sleep(100)
    expect(await state()).toBe('hashing')
    act()
    await expect.poll(state, PATIENCE).toBe(end)
  })
})
