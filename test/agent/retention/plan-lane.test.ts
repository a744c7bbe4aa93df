import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { PlanLane } from '../../../src/agent/retention/plan-lane.ts'
import { SHIPPED_POLICY } from '../../../src/retention/policy.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { CheckpointStore } from '../../../src/store/checkpoint-store.ts'
import { openDatabase } from '../../../src/store/database.ts'
import { sampleCheckpoint } from '../../support/sample-checkpoints.ts'

const COUNT = 30
const CHECKPOINTS = Array.from({ length: COUNT }, (_, index) => sampleCheckpoint(index))
const DAY_MS = 86_400_000
/** All are older than the shipped policy lets them become. */
const NOW = (CHECKPOINTS.at(-1)?.takenAt.millis ?? 0) + 60 * DAY_MS
const INPUT = {
  policy: SHIPPED_POLICY,
  nowMillis: NOW,
  disk: { totalBytes: 1024 ** 4, freeBytes: 1024 ** 4 },
  inUse: [],
}

const folder = mkdtempSync(join(tmpdir(), 'plan-lane-'))
const file = join(folder, 'state', 'index.db')

beforeAll(() => {
  const database = openDatabase({ file, clock: systemClock, logger: silentLogger })
  new CheckpointStore(database).saveAll(CHECKPOINTS)
  database.close()
})
afterAll(() => {
  rmSync(folder, { recursive: true })
})

describe('a lane of plans', () => {
  let lane: PlanLane
  beforeEach(() => {
    lane = new PlanLane(file)
  })
  afterEach(() => lane.close())

  it('plans by the rows of the index, and hands the lists out page by page', async () => {
    using plan = await lane.plan(INPUT)
    expect(plan.head.totals).toMatchObject({ archives: COUNT, removedArchives: COUNT })
    const pages = await Promise.all([0, 20, 40].map((skip) => plan.page('remove', { skip, count: 20 })))
    expect(pages.map(({ length }) => length)).toEqual([20, 10, 0])
    expect(pages.flat().map(({ archive }) => archive.id)).toEqual(CHECKPOINTS.map(({ id }) => id))
    expect(pages[0]?.[0]).toMatchObject({
      archive: { fileName: CHECKPOINTS[0]?.fileName, generation: CHECKPOINTS[0]?.generation, isPinned: false },
      reasons: [{ code: 'maxAge', rule: 'default' }],
    })
  })

  it('says why archives stay', async () => {
    using plan = await lane.plan({ ...INPUT, inUse: [CHECKPOINTS[3]?.id ?? ''], withKept: true })
    expect(await plan.page('keep', { skip: 0, count: 10 })).toMatchObject([
      { archive: { id: CHECKPOINTS[3]?.id, isInUse: true }, reasons: [{ code: 'inUse' }] },
    ])
  })

  it('has as many plans open as are asked for', async () => {
    const policy = { ...SHIPPED_POLICY, rules: [] }
    using all = await lane.plan(INPUT)
    using none = await lane.plan({ ...INPUT, policy })
    expect(none.head.totals.removedArchives).toBe(0)
    expect(await all.page('remove', { skip: 0, count: 1 })).toHaveLength(1)
    expect(await none.page('remove', { skip: 0, count: 1 })).toEqual([])
  })

  it('loses its plans with its process, says so, and plans on in a new one', async () => {
    using lost = await lane.plan(INPUT)
    const [planner = 0] = planners(process.pid)
    process.kill(planner, 'SIGKILL')
    await expect(lost.page('remove', { skip: 0, count: 1 })).rejects.toMatchObject({ code: 'PlanFailed' })
    using next = await lane.plan(INPUT)
    expect(next.head.id).toBe(lost.head.id)
    expect(planners(process.pid)).not.toContain(planner)
  })

  it('fails a plan under way when its process is killed', async () => {
    using _ = await lane.plan(INPUT)
    const [planner = 0] = planners(process.pid)
    process.kill(planner, 'SIGSTOP')
    const waiting = lane.plan(INPUT)
    process.kill(planner, 'SIGKILL')
    await expect(waiting).rejects.toMatchObject({ code: 'PlanFailed', message: /SIGKILL/ })
  })

  it('says what is wrong with the index', async () => {
    const other = new PlanLane(join(folder, 'none.db'))
    await expect(other.plan(INPUT)).rejects.toMatchObject({ code: 'PlanFailed', message: /unable to open/ })
    await other.close()
  })

  it('leaves no process behind when it is closed, nor takes orders then', async () => {
    using plan = await lane.plan(INPUT)
    const [planner = 0] = planners(process.pid)
    await lane.close()
    expect(isAlive(planner)).toBe(false)
    await expect(plan.page('remove', { skip: 0, count: 1 })).rejects.toMatchObject({ code: 'PlanFailed' })
    await expect(lane.plan(INPUT)).rejects.toMatchObject({ code: 'PlanFailed' })
  })

  it('ends its process when nobody has asked for a while', { timeout: 20_000 }, async () => {
    const plan = await lane.plan(INPUT)
    const [planner = 0] = planners(process.pid)
    plan[Symbol.dispose]()
    await vi.waitFor(() => expect(isAlive(planner)).toBe(false), { timeout: 15_000, interval: 100 })
  })
})

it('a lane whose agent is killed leaves no process behind', { timeout: 30_000 }, async () => {
  const program = `
    import { PlanLane } from ${JSON.stringify(join(import.meta.dirname, '../../../src/agent/retention/plan-lane.ts'))}
    setInterval(() => undefined, 1_000)
    await new PlanLane(${JSON.stringify(file)}).plan(${JSON.stringify(INPUT)})
    console.log('planned')`
  const agent = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(agent.stdout, 'data')
  const [planner = 0] = planners(agent.pid ?? 0)
  expect(isAlive(planner)).toBe(true)
  agent.kill('SIGKILL')
  await once(agent, 'exit')
  for (const begun = performance.now(); isAlive(planner) && performance.now() - begun < 10_000;) await sleep(20)
  expect(isAlive(planner)).toBe(false)
})

/** The children of a process that plan. */
function planners(parent: number): number[] {
  return readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8')
    .split(' ')
    .filter((pid) => pid !== '' && isAlive(Number(pid)))
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('plan-process'))
    .map(Number)
}

/** One that nobody has asked for its end has ended all the same. */
function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false
  return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}
