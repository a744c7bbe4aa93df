import { mkdirSync, readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFailed, vi } from 'vitest'
import { verifyCustody } from '../../src/custody/custody-verify.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { buildArchive, counterProcesses, writeArchive } from '../support/archive-builder.ts'
import { SmallDisk } from './support/small-disk.ts'
import { custodyEntries } from '../support/custody-files.ts'

const DISK_MIB = 512
const MIB = 1024 * 1024
const ARCHIVE_MIB = 20
const MIB_A_SECOND = 20
/** So far the writer may catch up with its pace: by 1 MiB. */
const BEHIND_MS = 50
const WRITES_FOR_MS = 120_000
const LAST_LINES = 30
/** Turn by turn: a flood of one tenant, and now and then something of the others. */
const TENANTS = ['flood', 'flood', 'shop', 'flood', 'flood', 'payments'] as const

let disk: SmallDisk
let directory: string
let agent: AgentProcess

beforeEach(async () => {
  disk = new SmallDisk(DISK_MIB)
  directory = join(disk.path, 'checkpoints')
  mkdirSync(directory, { mode: 0o700 })
  agent = await startAgentProcess({
    folder: join(disk.root, 'agent'),
    settings: {
      'node.name': 'node-a',
      'checkpoints.directory': directory,
      'runtime.socket': join(disk.root, 'no-runtime.sock'),
    },
    // The shipped policy, but that only the disk makes it sweep.
    retention: { schedule: '' },
  })
})
afterEach(async () => {
  await agent.kill9()
  disk[Symbol.dispose]()
})

describe('a file system of 512 MiB', () => {
  it(
    'is never full while 20 MiB a second are added to it, and keeps the last archive of every workload',
    { timeout: 300_000 },
    async () => {
      onTestFailed(() => {
        console.log(
          'what the agent said:',
          agent
            .log()
            .filter(({ level }) => level !== 'debug')
            .slice(-LAST_LINES),
        )
      })
      let leastFree = Number.POSITIVE_INFINITY
      const watch = setInterval(() => (leastFree = Math.min(leastFree, disk.freeBytes)), 50)
      const newest = new Map<string, string>()
      const lost: string[] = []
      const begun = performance.now()
      for (let number = 0; performance.now() - begun < WRITES_FOR_MS; number += 1) {
        const namespace = TENANTS[number % TENANTS.length] ?? 'flood'
        const name = await addSlowly(namespace, number)
        newest.set(namespace, name)
        const there = new Set(readdirSync(directory))
        lost.push(...[...newest.values()].filter((kept) => !there.has(kept)))
      }
      clearInterval(watch)
      expect(lost).toEqual([])
      expect(leastFree).toBeGreaterThan(0)
      const removed = entries().filter(({ action, outcome }) => action === 'prune' && outcome === 'done')
      // What was written is several times what there is room for.
      expect(removed.length).toBeGreaterThan((2 * DISK_MIB) / ARCHIVE_MIB)
      expect(new Set(removed.map(({ checkpoint }) => checkpoint?.fileName)).size).toBe(removed.length)
      expect(entries().filter(({ action }) => action === 'tampering')).toEqual([])
      expect((await verifyCustody(join(disk.root, 'agent/state/custody'))).problems).toEqual([])
    },
  )

  it('keeps everything when it becomes read-only, says so, and goes on when it is not any more', async () => {
    for (let at = 0; at < 12; at += 1) {
      const archive = { namespace: 'shop', pod: 'web', checkpointedAt: new Date() }
      writeArchive(join(directory, nameOf('shop', at)), archive)
    }
    await vi.waitFor(
      async () => {
        const { items } = (await agent.request('GET', '/v1/checkpoints?state=ready')).json<{ items: unknown[] }>()
        expect(items).toHaveLength(12)
      },
      { timeout: 20_000, interval: 100 },
    )
    const makeWritable = disk.makeReadOnly(directory)
    const refused = await agent.request('POST', '/v1/retention/sweep')
    expect({ status: refused.status, code: refused.json<{ code: string }>().code }).toEqual({
      status: 503,
      code: 'LocationNotWritable',
    })
    expect(entries().filter(({ action }) => action === 'prune')).toEqual([])
    makeWritable()
    const done = await agent.request('POST', '/v1/retention/sweep')
    expect(done.json()).toMatchObject({ outcome: 'done', removed: { count: 2 } })
  })
})

/** Writes an archive at this pace and never quicker, also after the machine has stood still; throws where there is no room. */
async function addSlowly(namespace: string, number: number): Promise<string> {
  const name = nameOf(namespace, number)
  const tar = buildArchive({
    namespace,
    pod: 'web',
    checkpointedAt: new Date(),
    processes: counterProcesses(ARCHIVE_MIB * MIB),
  })
  await using file = await open(join(directory, name), 'wx', 0o600)
  let dueMs = performance.now()
  for (const chunk of tar.chunks()) {
    await file.write(chunk)
    dueMs += (1000 * chunk.length) / (MIB_A_SECOND * MIB)
    const aheadMs = dueMs - performance.now()
    if (aheadMs > 5) await sleep(aheadMs)
    else if (aheadMs < -BEHIND_MS) dueMs = performance.now() - BEHIND_MS
  }
  return name
}

function nameOf(namespace: string, number: number): string {
  const time = new Date(Date.now() - 3_600_000 + number * 1000).toISOString().replace(/\.\d+/, '')
  return `checkpoint-web_${namespace}-counter-${time}.tar`
}

function entries() {
  return custodyEntries(join(disk.root, 'agent/state/custody'))
}
