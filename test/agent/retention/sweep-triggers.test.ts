import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { SweepReport } from '../../../src/checkpoint/sweep-report.ts'
import { SweepTriggers } from '../../../src/agent/retention/sweep-triggers.ts'
import { SHIPPED_POLICY, type Policy } from '../../../src/retention/policy.ts'
import { ConflictError } from '../../../src/shared/errors.ts'
import { recordingLogger } from '../../support/test-agent.ts'

/** Too full whatever the disk of this machine is like, and never. */
const TOO_FULL = { highWatermark: 0, lowWatermark: 0, minFreeBytes: 0 }
const NEVER_FULL = { highWatermark: 1, lowWatermark: 1, minFreeBytes: 0 }

let triggers: SweepTriggers | undefined
afterEach(async () => {
  await triggers?.stop()
})

function start(policy: Partial<Policy>, sweep: () => Promise<SweepReport> = async () => reportOf(1)) {
  const asked: string[] = []
  const logger = recordingLogger()
  const inForce = { policy: { ...SHIPPED_POLICY, ...policy } }
  triggers = new SweepTriggers({
    directory: tmpdir(),
    policy: () => inForce.policy,
    sweep: ({ trigger }) => {
      asked.push(trigger)
      return sweep()
    },
    logger,
    diskEveryMs: 300,
  })
  triggers.start()
  return { asked, logger, triggers, inForce }
}

function reportOf(count: number): SweepReport {
  const none = { count: 0, archives: [] }
  return {
    id: '01',
    startedAt: new Date().toISOString(),
    millis: 1,
    trigger: 'disk',
    user: 'agent',
    planId: 'p',
    outcome: 'done',
    removed: { count, bytes: count },
    byRule: {},
    failed: none,
    skipped: none,
    blocked: [],
    diskNotOurs: false,
  }
}

describe('the schedule', () => {
  it('makes sweeps by the clock', async () => {
    const { asked } = start({ schedule: '* * * * * *', disk: NEVER_FULL })
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(1), { timeout: 5_000 })
    expect(new Set(asked)).toEqual(new Set(['schedule']))
  })

  it('is in its time zone', () => {
    const inBerlin = start({ schedule: '0 3 * * *', timeZone: 'Europe/Berlin', disk: NEVER_FULL })
    const hour = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', timeZone: 'Europe/Berlin' })
    const next = inBerlin.triggers.nextRun
    expect(next && hour.format(next)).toBe('03')
  })

  it('can be none', async () => {
    const { asked } = start({ schedule: '', disk: NEVER_FULL })
    expect(triggers?.nextRun).toBeUndefined()
    await sleep(1_500)
    expect(asked).toEqual([])
  })

  it('is another one when the policy is', async () => {
    const { asked, inForce } = start({ schedule: '* * * * * *', disk: NEVER_FULL })
    inForce.policy = { ...inForce.policy, schedule: '' }
    triggers?.reschedule()
    await sleep(2_100)
    expect(asked).toEqual([])
  })

  it('ends with the agent', async () => {
    const { asked } = start({ schedule: '* * * * * *', disk: NEVER_FULL })
    await triggers?.stop()
    await sleep(2_100)
    expect(asked).toEqual([])
  })
})

describe('a disk above its watermark', () => {
  it('makes sweeps until it is not', async () => {
    const { asked, inForce } = start({ schedule: '', disk: TOO_FULL })
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(2), { timeout: 5_000 })
    expect(new Set(asked)).toEqual(new Set(['disk']))
    inForce.policy = { ...inForce.policy, disk: NEVER_FULL }
    await sleep(700)
    const soFar = asked.length
    await sleep(1_000)
    expect(asked.length).toBe(soFar)
  })

  it('is seen soon after it has filled quickly', async () => {
    const begun = performance.now()
    const filledMs = 3_100
    const asked: number[] = []
    triggers = new SweepTriggers({
      directory: tmpdir(),
      policy: () => ({
        ...SHIPPED_POLICY,
        schedule: '',
        disk: { ...NEVER_FULL, highWatermark: 0.5, lowWatermark: 0.5 },
      }),
      sweep: async () => {
        asked.push(performance.now() - begun)
        return reportOf(1)
      },
      // A look every so often alone would come 1.4 s late.
      diskEveryMs: 1_500,
      readDisk: async () => ({ totalBytes: 2e9, freeBytes: 2e9 - (1e9 * (performance.now() - begun)) / filledMs }),
      logger: recordingLogger(),
    })
    triggers.start()
    await vi.waitFor(() => expect(asked).not.toEqual([]), { timeout: 10_000, interval: 10 })
    expect(asked[0]).toBeGreaterThanOrEqual(filledMs)
    expect(asked[0]).toBeLessThan(filledMs + 900)
  })

  it('is left alone for a while when no sweep can help, until there is something new', async () => {
    const { asked } = start({ schedule: '', disk: TOO_FULL }, async () => reportOf(0))
    await sleep(2_000)
    expect(asked).toEqual(['disk'])
    triggers?.noteGrowth()
    await vi.waitFor(() => expect(asked).toEqual(['disk', 'disk']), { timeout: 2_000 })
  })

  it('waits while another sweep is under way, and says nothing of it', async () => {
    const { asked, logger } = start({ schedule: '', disk: TOO_FULL }, async () => {
      throw new ConflictError('busy', { code: 'SweepRunning' })
    })
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(0))
    expect(logger.lines).toEqual([])
  })
})

describe('a sweep that fails', () => {
  it('is said once, not every time', async () => {
    const { asked, logger } = start({ schedule: '* * * * * *', disk: NEVER_FULL }, async () => {
      throw new Error('EIO')
    })
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(1), { timeout: 5_000 })
    expect(logger.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
  })
})
