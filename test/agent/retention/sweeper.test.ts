import { renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SweepRequest } from '../../../src/agent/retention/sweeper.ts'
import { UnavailableError } from '../../../src/shared/errors.ts'
import { writeArchive } from '../../support/archive-builder.ts'
import { KEEP_ONE, NOW, SweepScene } from './sweep-scene.ts'
import { makeUnremovable, skipUnlessMayMount } from './unremovable-file.ts'

const ASKED: SweepRequest = { trigger: 'api', actor: { user: 'ada', groups: [] } }

let scene: SweepScene
beforeEach(() => {
  scene = new SweepScene()
})
afterEach(() => {
  scene[Symbol.dispose]()
  if (scene.exclude.size > 0) throw new Error('The inventory does not look at everything again after a sweep')
})

describe('a sweep', () => {
  it('removes what the plan says, oldest first, each announced before and noted after', async () => {
    const [oldest = '', older = '', newest = ''] = await scene.fill(3)
    const report = await scene.sweeper.sweep(ASKED)
    expect(scene.files).toEqual([newest])
    expect(scene.actions).toEqual([
      `prune intended ${oldest}`,
      `prune intended ${older}`,
      `prune done ${oldest}`,
      `prune done ${older}`,
    ])
    expect(report).toMatchObject({ outcome: 'done', removed: { count: 2 }, failed: { count: 0 }, user: 'ada' })
    expect(Object.keys(report.byRule)).toEqual(['one'])
    expect(scene.reports).toEqual([report])
  })

  it('says who, by which rule, of which size and digest', async () => {
    const [oldest = ''] = await scene.fill(2)
    await scene.sweeper.sweep(ASKED)
    expect(scene.entries[0]).toMatchObject({
      actor: { user: 'ada' },
      checkpoint: { fileName: oldest, sha256: 'a'.repeat(64), sizeBytes: expect.any(Number) as number },
      detail: { rule: 'one', trigger: 'api', reasons: [expect.stringContaining('maxCount') as string] },
    })
  })

  it('forgets the rows of what is gone, and leaves nothing for the next one', async () => {
    await scene.fill(3)
    await scene.sweeper.sweep(ASKED)
    expect(scene.store.countByState()).toEqual({ ready: 1 })
    expect(await scene.sweeper.sweep(ASKED)).toMatchObject({ removed: { count: 0 }, skipped: { count: 0 } })
  })

  it('takes more than one batch', async () => {
    await scene.fill(130)
    expect(await scene.sweeper.sweep(ASKED)).toMatchObject({ removed: { count: 129 } })
    expect(scene.files).toHaveLength(1)
  })

  it('has the archives of a batch to itself', async () => {
    const [oldest = '', newest = ''] = await scene.fill(2)
    const [goes, stays] = [scene.idOf(oldest), scene.idOf(newest)]
    scene.onAnnounce = () => {
      expect(scene.exclude).toEqual(new Set([goes]))
      expect(scene.exclude.has(stays)).toBe(false)
    }
    await scene.sweeper.sweep(ASKED)
    expect(scene.files).toEqual([newest])
  })

  it('does the plan that was looked at', async () => {
    await scene.fill(3)
    const plan = await scene.planner.open({})
    expect(await scene.sweeper.sweep({ ...ASKED, planId: plan.head.id })).toMatchObject({ removed: { count: 2 } })
  })

  it('refuses a plan that is another one by now, and removes nothing', async () => {
    await scene.fill(3)
    const plan = await scene.planner.open({})
    await scene.add(0.5)
    await expect(scene.sweeper.sweep({ ...ASKED, planId: plan.head.id })).rejects.toMatchObject({ code: 'PlanChanged' })
    expect(scene.files).toHaveLength(4)
    expect(scene.entries).toEqual([])
  })

  it('is the only one', async () => {
    await scene.fill(3)
    const first = scene.sweeper.sweep(ASKED)
    await expect(scene.sweeper.sweep(ASKED)).rejects.toMatchObject({ code: 'SweepRunning' })
    expect(await first).toMatchObject({ removed: { count: 2 } })
    expect(scene.entries).toHaveLength(4)
  })

  it('ends with its batch when the agent does', async () => {
    await scene.fill(130)
    const sweep = scene.sweeper.sweep(ASKED)
    await scene.sweeper.stop()
    const report = await sweep
    expect(report.outcome).toBe('stopped')
    expect(report.removed.count).toBeLessThanOrEqual(64)
    expect(scene.files).toHaveLength(130 - report.removed.count)
    await expect(scene.sweeper.sweep(ASKED)).rejects.toMatchObject({ code: 'ShuttingDown' })
  })
})

describe('what changes between the plan and the removal', () => {
  it('is kept when somebody pins it', async () => {
    const [oldest = '', older = ''] = await scene.fill(3)
    scene.onAnnounce = () => writeFileSync(`${scene.path(oldest)}.keep`, '')
    const report = await scene.sweeper.sweep(ASKED)
    expect(scene.isThere(oldest)).toBe(true)
    expect(scene.isThere(older)).toBe(false)
    expect(report.skipped.archives).toMatchObject([{ fileName: oldest, code: 'Pinned' }])
    expect(scene.actions.at(-2)).toBe(`prune failed ${oldest}`)
  })

  it('is kept when somebody begins to read it', async () => {
    const [oldest = ''] = await scene.fill(3)
    scene.onAnnounce = () => scene.inUse.add(scene.idOf(oldest))
    const report = await scene.sweeper.sweep(ASKED)
    expect(scene.isThere(oldest)).toBe(true)
    expect(report.skipped.archives).toMatchObject([{ fileName: oldest, code: 'InUse' }])
  })

  it('is kept when another file takes its place', async () => {
    const [oldest = ''] = await scene.fill(3)
    scene.onAnnounce = () => {
      writeArchive(scene.path('draft'), { pod: 'web' })
      renameSync(scene.path('draft'), scene.path(oldest))
    }
    const report = await scene.sweeper.sweep(ASKED)
    expect(scene.isThere(oldest)).toBe(true)
    expect(report.skipped.archives).toMatchObject([{ fileName: oldest, code: 'CheckpointChanged' }])
  })

  it('is kept when its row says that it is not ready any more', async () => {
    const [oldest = ''] = await scene.fill(3)
    scene.onAnnounce = () => {
      const row = scene.store.get(scene.idOf(oldest))
      scene.store.setState(row.id, row.generation, 'damaged')
    }
    await scene.sweeper.sweep(ASKED)
    expect(scene.isThere(oldest)).toBe(true)
  })

  it('is told of when somebody else removes it', async () => {
    const [oldest = ''] = await scene.fill(3)
    const id = scene.idOf(oldest)
    scene.onAnnounce = () => unlinkSync(scene.path(oldest))
    const report = await scene.sweeper.sweep(ASKED)
    expect(report).toMatchObject({ removed: { count: 1 }, skipped: { count: 1 } })
    expect(scene.left).toEqual([id])
    expect(scene.store.find(id)).toBeUndefined()
  })

  it('is not even announced when it was seen in time', async () => {
    const [oldest = ''] = await scene.fill(2)
    writeFileSync(`${scene.path(oldest)}.keep`, '')
    const report = await scene.sweeper.sweep(ASKED)
    expect(report.skipped.archives).toMatchObject([{ fileName: oldest, code: 'Pinned' }])
    expect(scene.entries).toEqual([])
  })

  it('makes a new plan when an archive that was to stay is gone: the next newest takes its place', async () => {
    const names = await scene.fill(3)
    const newest = names.at(-1) ?? ''
    scene.onAnnounce = () => {
      scene.onAnnounce = () => undefined
      const id = scene.idOf(newest)
      unlinkSync(scene.path(newest))
      scene.store.removeAll([scene.store.get(id)])
      scene.sweeper.noteRemoved(id)
    }
    const report = await scene.sweeper.sweep({ trigger: 'schedule' })
    expect(scene.files).toEqual([names[1]])
    expect(report).toMatchObject({ removed: { count: 1 }, skipped: { count: 0 } })
  })

  it('plans anew also for what was announced already', async () => {
    const names = await scene.fill(200)
    let batches = 0
    scene.onAnnounce = () => {
      batches += 1
      if (batches === 2) scene.sweeper.noteRemoved('0123456789abcdef')
    }
    expect(await scene.sweeper.sweep({ trigger: 'schedule' })).toMatchObject({ removed: { count: 199 } })
    expect(scene.files).toEqual(names.slice(-1))
    expect(scene.actions.filter((action) => action.startsWith('prune failed'))).not.toEqual([])
    expect(lastOutcomes(scene)).toEqual(names.slice(1).map(() => 'done'))
  })

  it('plans anew also when that happens after the last batch was announced', async () => {
    const names = await scene.fill(2)
    const { store } = scene
    vi.spyOn(store, 'findStanding').mockImplementationOnce((id) => {
      scene.sweeper.noteRemoved('0123456789abcdef')
      return store.findStanding(id)
    })
    expect(await scene.sweeper.sweep({ trigger: 'schedule' })).toMatchObject({ removed: { count: 1 } })
    expect(scene.files).toEqual(names.slice(-1))
  })

  it('ends a sweep whose plan somebody has agreed to', async () => {
    const names = await scene.fill(3)
    const plan = await scene.planner.open({})
    scene.onAnnounce = () => scene.sweeper.noteRemoved('0123456789abcdef')
    const order = { ...ASKED, planId: plan.head.id }
    await expect(scene.sweeper.sweep(order)).rejects.toMatchObject({ code: 'PlanChanged' })
    expect(scene.files).toEqual(names)
    expect(scene.reports).toMatchObject([{ outcome: 'failed', error: { code: 'PlanChanged' } }])
  })
})

describe('where it cannot go on', () => {
  it('removes nothing without its entries', async () => {
    using failing = new SweepScene({
      custody: {
        recordRemovals: () =>
          Promise.reject(new UnavailableError('the disk of the log fails', { code: 'CustodyUnavailable' })),
        noteAll: () => Promise.resolve(),
      },
    })
    await failing.fill(3)
    await expect(failing.sweeper.sweep(ASKED)).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    expect(failing.files).toHaveLength(3)
    expect(failing.reports).toMatchObject([{ outcome: 'failed', error: { code: 'CustodyUnavailable' } }])
  })

  it('brings to its end what was announced when the next batch cannot be', async () => {
    await scene.fill(130)
    let batches = 0
    scene.onAnnounce = () => {
      batches += 1
      if (batches > 1) throw new UnavailableError('the disk of the log fails', { code: 'CustodyUnavailable' })
    }
    await expect(scene.sweeper.sweep(ASKED)).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    expect(scene.files).toHaveLength(130 - 64)
    expect(scene.reports).toMatchObject([{ outcome: 'failed', removed: { count: 64 } }])
    expect(lastOutcomes(scene)).toEqual(Array.from({ length: 64 }, () => 'done'))
  })

  it('removes nothing more of what was announced when it fails, and says so of each', async () => {
    using failing = new SweepScene({ recheck: () => Promise.reject(new Error('the index is gone')) })
    const [pinned = ''] = await failing.fill(250)
    writeFileSync(`${failing.path(pinned)}.keep`, '')
    await expect(failing.sweeper.sweep(ASKED)).rejects.toThrow('the index is gone')
    const outcomes = lastOutcomes(failing)
    expect(new Set(outcomes)).toEqual(new Set(['done', 'failed']))
    const removed = outcomes.filter((outcome) => outcome === 'done').length
    expect(failing.files).toHaveLength(251 - removed)
    expect(failing.exclude).toEqual(new Set())
  })

  it('says why a file cannot be removed, keeps it visible, and tries again', async ({ skip }) => {
    skipUnlessMayMount(skip)
    const [oldest = ''] = await scene.fill(3)
    const id = scene.idOf(oldest)
    const makeRemovable = makeUnremovable(scene.path(oldest))
    const report = await scene.sweeper.sweep(ASKED)
    expect(report).toMatchObject({
      outcome: 'done',
      removed: { count: 1 },
      failed: { count: 1, archives: [{ fileName: oldest, code: 'PruneFailed' }] },
    })
    expect(scene.troubles).toEqual([[id, expect.stringMatching(/EBUSY|EPERM/)]])
    expect(scene.actions.at(-2)).toBe(`prune failed ${oldest}`)
    makeRemovable()
    expect(await scene.sweeper.sweep(ASKED)).toMatchObject({ removed: { count: 1 }, failed: { count: 0 } })
    expect(scene.isThere(oldest)).toBe(false)
  })

  it('takes the reason back when the archive is to stay after all', async ({ skip }) => {
    skipUnlessMayMount(skip)
    const [oldest = ''] = await scene.fill(2)
    const id = scene.idOf(oldest)
    const makeRemovable = makeUnremovable(scene.path(oldest))
    await scene.sweeper.sweep(ASKED)
    makeRemovable()
    scene.policy = { ...KEEP_ONE, rules: [] }
    await scene.sweeper.sweep(ASKED)
    expect(scene.troubles.at(-1)).toEqual([id, undefined])
    expect(scene.isThere(oldest)).toBe(true)
  })

  it('ends where the index cannot be written: what is gone is in the log, and left to the next look', async () => {
    const [oldest = ''] = await scene.fill(2)
    const failing = new SweepScene({
      forget: () => {
        throw new Error('database or disk is full')
      },
    })
    try {
      await failing.fill(2)
      await expect(failing.sweeper.sweep(ASKED)).rejects.toThrow('disk is full')
      expect(failing.actions).toEqual([`prune intended ${oldest}`, `prune done ${oldest}`])
      expect(failing.exclude).toEqual(new Set())
      expect(failing.reports[0]).toMatchObject({ outcome: 'failed', removed: { count: 1 } })
    } finally {
      failing[Symbol.dispose]()
    }
  })

  it('announces nothing in a directory that is not there', async () => {
    const names = await scene.fill(3)
    renameSync(scene.directory, `${scene.directory}-away`)
    await expect(scene.sweeper.sweep(ASKED)).rejects.toMatchObject({ code: 'LocationNotWritable' })
    expect(scene.entries).toEqual([])
    renameSync(`${scene.directory}-away`, scene.directory)
    expect(scene.files).toEqual(names)
  })

  it('removes nothing because the clock was put back by a day', async () => {
    scene.policy = {
      ...KEEP_ONE,
      rules: KEEP_ONE.rules.map((rule) => ({
        ...rule,
        limits: { ...rule.limits, maxCount: {}, maxAgeMs: 36 * 3_600_000 },
      })),
    }
    const names = await scene.fill(30)
    scene.now = new Date(NOW.getTime() - 24 * 3_600_000)
    expect(await scene.sweeper.sweep(ASKED)).toMatchObject({ removed: { count: 0 } })
    expect(scene.files).toEqual(names)
  })
})

/** Of each archive whose removal was announced, how it ended. */
function lastOutcomes({ entries }: SweepScene): unknown[] {
  return [...new Map(entries.map(({ checkpoint, outcome }) => [checkpoint?.id, outcome])).values()]
}
