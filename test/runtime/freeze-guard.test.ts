import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { FreezeControl, FreezeState } from '../../src/runtime/freeze-control.ts'
import { FreezeGuard, type FreezeGuardTiming } from '../../src/runtime/freeze-guard.ts'
import { recordingLogger } from '../support/test-agent.ts'

const TIMING: FreezeGuardTiming = { pollMs: 5, quietMs: 60, watchMs: 150, giveUpMs: 800 }
const ID = 'c1'

/** A container whose state at a time is a table: what it is from so many milliseconds on. */
interface Script {
  readonly states: readonly (readonly [fromMs: number, state: FreezeState | Error])[]
  readonly resume?: (attempt: number) => void
}

function scripted({ states, resume }: Script) {
  const begun = performance.now()
  let resumedAt: number | undefined
  let resumes = 0
  const stateNow = () => {
    if (resumedAt !== undefined) return 'running'
    return states.findLast(([from]) => performance.now() - begun >= from)?.[1] ?? 'running'
  }
  const control: FreezeControl = {
    async look() {
      const state = stateNow()
      if (state instanceof Error) throw state
      return state
    },
    isBlind: async () => false,
    async resume() {
      resumes += 1
      resume?.(resumes)
      resumedAt = performance.now() - begun
    },
  }
  const logger = recordingLogger()
  let resumed = 0
  const guard = new FreezeGuard({ control, logger, onResumed: () => (resumed += 1), timing: TIMING })
  return {
    guard,
    logger,
    get resumes() {
      return resumes
    },
    get resumed() {
      return resumed
    },
    get resumedAt() {
      return resumedAt
    },
    elapsed: () => performance.now() - begun,
  }
}

const watchWith = (test: ReturnType<typeof scripted>, dumpMayTakeMs: number) =>
  test.guard.watch(ID, { reason: 'a test', dumpMayTakeMs })

describe.concurrent('FreezeGuard', () => {
  it('lets a container alone that is never frozen', async () => {
    const test = scripted({ states: [[0, 'running']] })
    const watch = watchWith(test, 50)
    expect(test.guard.isWatching(ID)).toBe(true)
    expect(await watch.settled).toBe('never-frozen')
    expect(test.elapsed()).toBeGreaterThanOrEqual(TIMING.quietMs)
    expect(await watch.ended).toBe('never-frozen')
    expect(test.elapsed()).toBeGreaterThanOrEqual(TIMING.watchMs)
    expect(test.resumes).toBe(0)
    expect(test.guard.isWatching(ID)).toBe(false)
    expect(test.logger.lines).toEqual([])
  })

  it('looks for as long as the dump may take, where that is longer', async () => {
    const test = scripted({ states: [[0, 'running']] })
    await watchWith(test, 300).ended
    expect(test.elapsed()).toBeGreaterThanOrEqual(300)
  })

  it('lets alone a pause that ends by itself', async () => {
    const test = scripted({
      states: [
        [0, 'frozen'],
        [80, 'running'],
      ],
    })
    const watch = watchWith(test, 5_000)
    expect(await watch.settled).toBe('resumed-by-itself')
    expect(test.elapsed()).toBeGreaterThanOrEqual(80 + TIMING.quietMs)
    expect(test.resumes).toBe(0)
    watch.stop()
  })

  it('resumes a container that stays frozen for longer than the dump may take, not before', async () => {
    const test = scripted({ states: [[0, 'frozen']] })
    const watch = watchWith(test, 100)
    expect(await watch.settled).toBe('resumed')
    expect(test.resumedAt).toBeGreaterThanOrEqual(100)
    expect(test.resumes).toBe(1)
    expect(test.resumed).toBe(1)
    expect(test.logger.lines).toEqual([
      {
        level: 'warn',
        fields: { containerId: ID, reason: 'a test' },
        message: 'Resumed a container that a dump had left frozen',
      },
    ])
    expect(await watch.ended).toBe('resumed')
  })

  it('is there when the freeze comes long after the first look', async () => {
    const test = scripted({
      states: [
        [0, 'running'],
        [110, 'frozen'],
      ],
    })
    const watch = watchWith(test, 40)
    expect(await watch.ended).toBe('resumed')
    expect(test.resumedAt).toBeGreaterThanOrEqual(150)
  })

  it('counts a pause from its own beginning: an earlier one is over', async () => {
    const test = scripted({
      states: [
        [0, 'frozen'],
        [250, 'running'],
        // Long enough to be seen on a busy machine.
        [1250, 'frozen'],
        [1500, 'running'],
      ],
    })
    const watch = watchWith(test, 420)
    expect(await watch.ended).toBe('resumed-by-itself')
    expect(test.resumes).toBe(0)
  })

  it('waits for a runtime that does not answer, and complains once', async () => {
    const silent = new Error('nobody answers')
    const test = scripted({
      states: [
        [0, silent],
        [120, 'frozen'],
      ],
    })
    const watch = watchWith(test, 30)
    expect(await watch.ended).toBe('resumed')
    expect(test.logger.lines.map(({ message }) => message)).toEqual([
      'Cannot see whether the container is frozen',
      'Resumed a container that a dump had left frozen',
    ])
  })

  it('complains of each new trouble', async () => {
    const test = scripted({
      states: [
        [0, new Error('one')],
        [200, new Error('two')],
        [400, 'running'],
      ],
    })
    await watchWith(test, 10).ended
    expect(test.logger.lines.map(({ fields }) => fields)).toEqual([
      { containerId: ID, reason: 'a test', error: 'one' },
      { containerId: ID, reason: 'a test', error: 'two' },
    ])
  })

  it('tries again when the resume is refused, and complains once', async () => {
    const test = scripted({
      states: [[0, 'frozen']],
      resume: (attempt) => {
        if (attempt <= 5) throw new Error('the shim is busy')
      },
    })
    expect(await watchWith(test, 20).ended).toBe('resumed')
    expect(test.resumes).toBe(6)
    expect(test.resumed).toBe(1)
    expect(test.logger.lines.map(({ message }) => message)).toEqual([
      'Cannot resume a container that a dump left frozen',
      'Resumed a container that a dump had left frozen',
    ])
  })

  it('gives up at last on one that cannot be resumed', async () => {
    const test = scripted({
      states: [[0, 'frozen']],
      resume: () => {
        throw new Error('never')
      },
    })
    const watch = watchWith(test, 20)
    expect(await watch.settled).toBe('left-frozen')
    expect(test.elapsed()).toBeGreaterThanOrEqual(TIMING.giveUpMs)
    expect(test.logger.lines).toHaveLength(1)
    expect(test.guard.isWatching(ID)).toBe(false)
  })

  it('takes a container that nobody can see for settled when the dump may be over, and goes on looking', async () => {
    const test = scripted({ states: [[0, 'unknown']] })
    const watch = watchWith(test, 120)
    expect(await watch.settled).toBe('never-frozen')
    expect(test.elapsed()).toBeGreaterThanOrEqual(120)
    expect(test.guard.isWatching(ID)).toBe(true)
    watch.stop()
  })

  it('ends with the container', async () => {
    const test = scripted({
      states: [
        [0, 'frozen'],
        [50, 'gone'],
      ],
    })
    const watch = watchWith(test, 5_000)
    expect(await watch.settled).toBe('gone')
    expect(await watch.ended).toBe('gone')
  })

  it.each([
    { name: 'stop', end: (_: FreezeGuard, stop: () => void) => stop() },
    { name: 'release', end: (guard: FreezeGuard) => guard.release(ID) },
    { name: 'close', end: (guard: FreezeGuard) => guard.close() },
  ])('stops looking on $name, and does nothing any more', async ({ end }) => {
    const test = scripted({ states: [[0, 'frozen']] })
    const watch = watchWith(test, 60)
    end(test.guard, () => watch.stop())
    expect(await watch.ended).toBe('stopped')
    expect(await watch.settled).toBe('stopped')
    await sleep(100)
    expect(test.resumes).toBe(0)
    expect(test.guard.isWatching(ID)).toBe(false)
  })

  it('lets a newer watch take the place of the older', async () => {
    const test = scripted({ states: [[0, 'frozen']] })
    const older = watchWith(test, 5_000)
    const newer = watchWith(test, 30)
    expect(await older.ended).toBe('stopped')
    expect(test.guard.isWatching(ID)).toBe(true)
    expect(await newer.ended).toBe('resumed')
    expect(test.resumes).toBe(1)
  })

  it('watches each container by itself', async () => {
    const test = scripted({ states: [[0, 'running']] })
    const first = test.guard.watch('c1', { reason: 'a test', dumpMayTakeMs: 10 })
    const second = test.guard.watch('c2', { reason: 'a test', dumpMayTakeMs: 10 })
    test.guard.release('c1')
    expect(await first.ended).toBe('stopped')
    expect(await second.ended).toBe('never-frozen')
  })
})
