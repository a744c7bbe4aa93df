import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { CheckpointList, CheckpointResponse } from '../../src/api/checkpoint-schemas.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { writeArchive } from '../support/archive-builder.ts'
import { compileAgentOnce } from '../support/compiled-agent.ts'

// The directory is the truth: whatever becomes of the agent or of its index, the list in the end is the same.

const ARCHIVES = 1_000
const KILLS = 10

let folder: string
let checkpoints: string
let undisturbed: readonly object[]
let agent: AgentProcess | undefined

compileAgentOnce()
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'index-loss-'))
  checkpoints = join(folder, 'checkpoints')
  mkdirSync(checkpoints, { mode: 0o700 })
  writeArchives()
  undisturbed = await settledList(await start('undisturbed'))
  await stop()
})

afterEach(async () => {
  await agent?.kill9()
  agent = undefined
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

/** Most are whole, some are cut off, some are no archives at all; a few are pinned. */
function writeArchives(): void {
  const model = join(folder, 'model.tar')
  for (let index = 0; index < ARCHIVES; index += 1) {
    const pod = `web-${index}`
    const path = join(checkpoints, `checkpoint-${pod}_shop-counter-2026-01-31T12:00:00Z.tar`)
    if (index % 50 === 7) writeFileSync(path, 'this is no archive. '.repeat(1000), { mode: 0o600 })
    else if (index % 10 !== 0) copyFileSync(model, path)
    else {
      writeArchive(path, { namespace: 'shop', pod, container: 'counter' })
      copyFileSync(path, model)
      if (index % 100 === 20) writeFileSync(`${path}.keep`, 'keep')
      if (index % 100 === 50) truncateSync(path, statSync(path).size / 2)
    }
  }
}

async function start(state: string): Promise<AgentProcess> {
  agent = await startAgentProcess({
    folder: join(folder, state),
    settings: { 'checkpoints.directory': checkpoints, 'runtime.socket': join(folder, 'no-runtime.sock') },
  })
  return agent
}

async function stop(): Promise<void> {
  expect(await agent?.sigterm()).toBe(0)
  agent = undefined
}

async function list(from: AgentProcess): Promise<readonly CheckpointResponse[]> {
  const answer = await from.request('GET', '/v1/checkpoints?limit=1000&sort=fileName')
  expect(answer.status).toBe(200)
  return answer.json<CheckpointList>().items
}

async function count(from: AgentProcess, query: string): Promise<number> {
  const { items, remaining } = (await from.request('GET', `/v1/checkpoints?limit=1${query}`)).json<CheckpointList>()
  return items.length + remaining
}

/** Everything but when it was found, once every digest is there. */
async function settledList(from: AgentProcess): Promise<readonly object[]> {
  await vi.waitUntil(
    async () => {
      // The whole list is half a megabyte: asked for again and again, it would be what the agent is busy with.
      const counts = await Promise.all(['', '&state=discovered', '&state=hashing'].map((state) => count(from, state)))
      if (counts.join() !== `${ARCHIVES},0,0`) return false
      return !(await list(from)).some(({ state }) => state === 'discovered' || state === 'hashing')
    },
    { timeout: 120_000, interval: 100 },
  )
  return (await list(from)).map((row) => ({ ...row, discoveredAt: undefined }))
}

const indexFile = (state: string) => join(folder, state, 'state', 'index.db')

describe('the list of a thousand archives', () => {
  it('has all of them, each in the state it should have', () => {
    const states = Map.groupBy(undisturbed as readonly CheckpointResponse[], ({ state }) => state)
    expect([...states.keys()].toSorted()).toEqual(['damaged', 'incomplete', 'ready'])
    expect(states.get('incomplete')).toHaveLength(10)
    expect(states.get('damaged')).toHaveLength(20)
  })

  it(`is the same when the agent is killed ${KILLS} times while it finds them`, async () => {
    const found: number[] = []
    for (let kill = 0; kill < KILLS; kill += 1) {
      const killed = await start('killed')
      await sleep(Math.random() * 150)
      await killed.kill9()
      found.push(knownRows('killed'))
    }
    // Each goes on where the one before was killed; some of the kills met the middle of it.
    expect(found).toEqual(found.toSorted((a, b) => a - b))
    expect(await settledList(await start('killed'))).toEqual(undisturbed)
  })

  it(
    `is the same when each of ${KILLS} agents begins anew and is killed at another moment`,
    { timeout: 600_000 },
    async () => {
      for (let kill = 0; kill < KILLS; kill += 1) {
        rmSync(join(folder, 'anew'), { recursive: true, force: true })
        const killed = await start('anew')
        await sleep(kill * 30)
        await killed.kill9()
        expect(await settledList(await start('anew'))).toEqual(undisturbed)
        await stop()
      }
    },
  )

  it('is the same without the index', async () => {
    await settledList(await start('removed'))
    await stop()
    const state = join(folder, 'removed', 'state')
    for (const name of readdirSync(state)) if (name.startsWith('index.db')) rmSync(join(state, name))
    expect(await settledList(await start('removed'))).toEqual(undisturbed)
  })

  it('is the same when the index is removed under the agent, then and after the next start', async () => {
    const running = await start('pulled')
    await settledList(running)
    for (const suffix of ['', '-wal', '-shm']) rmSync(indexFile('pulled') + suffix, { force: true })
    expect(await settledList(running)).toEqual(undisturbed)
    await stop()
    expect(await settledList(await start('pulled'))).toEqual(undisturbed)
  })

  it.each([
    { name: 'is no database', spoil: (file: string) => writeFileSync(file, 'x'.repeat(100_000)) },
    { name: 'is damaged in its middle', spoil: (file: string) => spoilPages(file) },
    { name: 'is of a newer agent', spoil: (file: string) => sqlite(file, 'PRAGMA user_version = 9999') },
    { name: 'lacks its table', spoil: (file: string) => sqlite(file, 'DROP TABLE checkpoints') },
  ])('is the same when the index $name, which is set aside and said', async ({ name, spoil }) => {
    const state = `spoilt-${name.replaceAll(' ', '-')}`
    await settledList(await start(state))
    await stop()
    spoil(indexFile(state))
    const next = await start(state)
    expect(await settledList(next)).toEqual(undisturbed)
    expect(next.log().map(({ msg }) => msg)).toContain('The index cannot be used; it is set aside and begun anew')
    expect(readdirSync(join(folder, state, 'state')).join()).toContain('index.db.unusable-')
  })
})

function knownRows(state: string): number {
  if (!existsSync(indexFile(state))) return 0
  const database = new Sqlite(indexFile(state))
  try {
    return database.prepare<[], { rows: number }>('SELECT count(*) AS rows FROM checkpoints').get()?.rows ?? 0
  } finally {
    database.close()
  }
}

function sqlite(file: string, statement: string): void {
  const database = new Sqlite(file)
  database.exec(statement)
  database.close()
}

/** Beyond the first pages, which every statement reads. */
function spoilPages(file: string): void {
  const { size } = statSync(file)
  const descriptor = openSync(file, 'r+')
  const middle = Math.floor(size / 2 / 4096) * 4096
  writeSync(descriptor, Buffer.alloc(8 * 4096, 0xa5), 0, 8 * 4096, middle)
  closeSync(descriptor)
}
