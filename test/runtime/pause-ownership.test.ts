import { describe, expect, it } from 'vitest'
import type { FreezeState } from '../../src/runtime/freeze-control.ts'
import { FreezeGuard, type FreezeGuardTiming, type FreezeOutcome } from '../../src/runtime/freeze-guard.ts'
import type { ResumeEntry } from '../../src/runtime/recorded-resume.ts'
import { silentLogger } from '../../src/shared/logger.ts'

// A step is one look; times are far enough apart for a busy machine to tell them apart.
const TIMING: FreezeGuardTiming = { pollMs: 1, quietMs: 40, watchMs: 200, giveUpMs: 5_000 }
const ID = 'c1'

interface Script {
  readonly isDumpOver: boolean
  readonly dumpMayTakeMs: number
  /** What is seen, from so many milliseconds on. */
  readonly states: readonly (readonly [fromMs: number, state: FreezeState])[]
  readonly resume?: (attempt: number) => void
}

/** Watches a container that is in these states, and tells what came of it. */
async function watch({ isDumpOver, dumpMayTakeMs, states, resume }: Script) {
  const begun = performance.now()
  const elapsed = () => performance.now() - begun
  const entries: ResumeEntry[] = []
  let resumes = 0
  let isFree = false
  const guard = new FreezeGuard({
    control: {
      look: async () => (isFree ? 'running' : (states.findLast(([from]) => elapsed() >= from)?.[1] ?? 'running')),
      resume: async () => {
        resumes += 1
        resume?.(resumes)
        isFree = true
      },
    },
    logger: silentLogger,
    onResumed: () => undefined,
    record: (entry) => entries.push(entry),
    timing: TIMING,
  })
  const outcome: FreezeOutcome = await guard.watch(ID, { reason: 'a test', dumpMayTakeMs, isDumpOver }).ended
  return { outcome, resumes, entries, tookMs: elapsed(), guard }
}

describe.concurrent('whose pause it is after a dump that the runtime said had failed', () => {
  it("nobody's from the first look on that says running: what is paused then is foreign", async () => {
    const { outcome, resumes, tookMs, guard } = await watch({
      isDumpOver: true,
      dumpMayTakeMs: 10,
      states: [
        [0, 'running'],
        [1_000, 'frozen'],
      ],
    })
    expect(outcome).toBe('never-frozen')
    expect(resumes).toBe(0)
    expect(tookMs).toBeLessThan(1_000)
    expect(guard.isWatching(ID)).toBe(false)
  })

  it('ours until it is seen to run, and it is resumed after it stood still for a moment, however long a dump may take', async () => {
    const { outcome, resumes, tookMs } = await watch({
      isDumpOver: true,
      dumpMayTakeMs: 60_000,
      states: [[0, 'frozen']],
    })
    expect(outcome).toBe('resumed')
    expect(resumes).toBe(1)
    expect(tookMs).toBeGreaterThanOrEqual(TIMING.quietMs)
  })

  it('ours while nobody can tell: unknown is never running', async () => {
    const { outcome, resumes } = await watch({
      isDumpOver: true,
      dumpMayTakeMs: 10,
      states: [
        [0, 'unknown'],
        [300, 'frozen'],
      ],
    })
    expect(outcome).toBe('resumed')
    expect(resumes).toBe(1)
  })

  it("nobody's once it ended by itself, though it was seen paused", async () => {
    const { outcome, resumes } = await watch({
      isDumpOver: true,
      dumpMayTakeMs: 10,
      states: [
        [0, 'frozen'],
        [20, 'running'],
        // Long enough to be seen on a busy machine.
        [1_000, 'frozen'],
      ],
    })
    expect(outcome).toBe('resumed-by-itself')
    expect(resumes).toBe(0)
  })
})

describe.concurrent('whose pause it is after a dump that was given up, or whose connection was lost', () => {
  it('ours, though it was seen to run for long before: the freeze can come late', async () => {
    const { outcome, resumes, tookMs } = await watch({
      isDumpOver: false,
      dumpMayTakeMs: 30,
      states: [
        [0, 'running'],
        [TIMING.quietMs * 3, 'frozen'],
      ],
    })
    expect(outcome).toBe('resumed')
    expect(resumes).toBe(1)
    expect(tookMs).toBeGreaterThanOrEqual(TIMING.quietMs * 3 + 30)
  })

  it("the dump's own while it is younger than the dump may take", async () => {
    const { outcome, resumes } = await watch({
      isDumpOver: false,
      dumpMayTakeMs: 400,
      states: [
        [0, 'frozen'],
        [150, 'running'],
      ],
    })
    expect(outcome).toBe('resumed-by-itself')
    expect(resumes).toBe(0)
  })

  it("nobody's once the time is over and it runs", async () => {
    const { outcome, tookMs, guard } = await watch({ isDumpOver: false, dumpMayTakeMs: 300, states: [[0, 'running']] })
    expect(outcome).toBe('never-frozen')
    expect(tookMs).toBeGreaterThanOrEqual(300)
    expect(guard.isWatching(ID)).toBe(false)
  })

  it("nobody's after one resume: a second pause is foreign", async () => {
    const { outcome, resumes, tookMs, guard } = await watch({
      isDumpOver: false,
      dumpMayTakeMs: 20,
      states: [[0, 'frozen']],
    })
    expect(outcome).toBe('resumed')
    expect(resumes).toBe(1)
    expect(tookMs).toBeLessThan(TIMING.giveUpMs)
    expect(guard.isWatching(ID)).toBe(false)
  })

  it("nobody's after a resume that seemed to fail, once it is seen to run", async () => {
    const { outcome, resumes } = await watch({
      isDumpOver: false,
      dumpMayTakeMs: 20,
      states: [
        [0, 'frozen'],
        [250, 'running'],
        [3_000, 'frozen'],
      ],
      resume: () => {
        throw new Error('the answer is lost')
      },
    })
    expect(outcome).toBe('resumed-by-itself')
    expect(resumes).toBeGreaterThan(0)
  })
})

describe.concurrent('a resume', () => {
  it('has its intent and its outcome on record', async () => {
    const { entries } = await watch({ isDumpOver: true, dumpMayTakeMs: 20, states: [[0, 'frozen']] })
    expect(entries).toMatchObject([
      { containerId: ID, origin: 'own', outcome: 'intended', reason: 'a test' },
      { containerId: ID, origin: 'own', outcome: 'done' },
    ])
    expect(entries[0]?.frozenMs).toBeGreaterThanOrEqual(TIMING.quietMs)
  })

  it('that fails again and again is recorded once for each cause', async () => {
    const { entries, resumes } = await watch({
      isDumpOver: true,
      dumpMayTakeMs: 20,
      states: [[0, 'frozen']],
      resume: (attempt) => {
        if (attempt < 20) throw new Error(attempt < 10 ? 'one' : 'two')
      },
    })
    expect(resumes).toBe(20)
    expect(entries.map(({ outcome, error }) => error ?? outcome)).toEqual(['intended', 'one', 'two', 'done'])
  })
})
