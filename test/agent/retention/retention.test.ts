import Sqlite from 'better-sqlite3'
import { rmSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import type { CustodyEntry } from '../../../src/custody/custody-entry.ts'
import { readPolicy } from '../../../src/retention/policy-parser.ts'
import { SHIPPED_POLICY, SHIPPED_RULE, type Policy } from '../../../src/retention/policy.ts'
import { GonePodStore } from '../../../src/store/gone-pod-store.ts'
import { writeArchive } from '../../support/archive-builder.ts'
import { recordingLogger, startTestAgent, type TestAgent } from '../../support/test-agent.ts'
import { custodyEntries } from '../../support/custody-files.ts'

const ACTOR = { user: 'ada', groups: [] }

const KEEP_TWO: Policy = {
  ...SHIPPED_POLICY,
  schedule: '',
  rules: [
    {
      ...SHIPPED_RULE,
      name: 'two',
      isShipped: false,
      limits: { maxCount: { workloadContainer: 2 }, maxTotalBytes: {} },
    },
  ],
  disk: { highWatermark: 1, lowWatermark: 1, minFreeBytes: 0 },
}

/** Oldest first. */
function addArchives({ folder }: TestAgent, count: number): string[] {
  return Array.from({ length: count }, (_, at) => {
    const takenAt = new Date(Date.UTC(2026, 5, 1 + at))
    const name = `checkpoint-web_shop-counter-${takenAt.toISOString().replace('.000', '')}.tar`
    const path = join(folder.checkpoints, name)
    writeArchive(path, { pod: 'web', checkpointedAt: takenAt })
    utimesSync(path, takenAt, takenAt)
    return name
  })
}

async function readyArchives({ agent }: TestAgent) {
  const order = { key: 'takenAt', isDescending: false } as const
  return (await agent.checkpoints.list({ filter: { state: 'ready' }, order, limit: 100 })).items
}

async function untilReady(test: TestAgent, count: number): Promise<void> {
  await vi.waitFor(async () => expect(await readyArchives(test)).toHaveLength(count), { timeout: 20_000 })
}

function custodyOf({ folder }: TestAgent): CustodyEntry[] {
  return custodyEntries(join(folder.state, 'custody'))
}

/** As if the runtime had said for so long that it does not know the pods of the archives. */
function countGone({ folder }: TestAgent, millis: number): void {
  const database = new Sqlite(join(folder.state, 'index.db'))
  const store = new GonePodStore(database)
  store.addGone(new Set(), { after: 0, count: 1_000 })
  store.advance(new Set(), millis)
  database.close()
}

describe('retention of an agent', () => {
  it('does what its plan says, and the plan says why', async () => {
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO } })
    const names = addArchives(test, 5)
    await untilReady(test, 5)
    using plan = await test.agent.retention.plan({ withKept: true })
    const remove = await plan.page('remove', { skip: 0, count: 100 })
    expect(remove.map(({ archive }) => archive.fileName)).toEqual(names.slice(0, 3))
    expect(remove[0]?.reasons).toMatchObject([{ code: 'maxCount', rule: 'two' }])
    const keep = await plan.page('keep', { skip: 1, count: 100 })
    expect(keep.map(({ archive }) => archive.fileName)).toEqual([names[3]])

    const report = await test.agent.retention.sweep({ trigger: 'api', actor: ACTOR, planId: plan.head.id })
    expect(report).toMatchObject({ outcome: 'done', removed: { count: 3 }, planId: plan.head.id })
    expect(test.archives()).toEqual(names.slice(3))
    expect((await readyArchives(test)).map(({ fileName }) => fileName)).toEqual(names.slice(3))
    expect(custodyOf(test).filter(({ action }) => action === 'tampering')).toEqual([])
  })

  it('shows what it did, also after a restart', async () => {
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO } })
    addArchives(test, 3)
    await untilReady(test, 3)
    const report = await test.agent.retention.sweep({ trigger: 'api', actor: ACTOR })
    await test.agent.retention.sweep({ trigger: 'api', actor: ACTOR })
    await test.restart()
    const { reports } = test.agent.retention.history({ limit: 10 })
    expect(reports).toHaveLength(2)
    expect(reports[1]).toEqual(report)
    expect(test.agent.retention.history({ limit: 1 })).toMatchObject({ remaining: 1 })
    expect(test.agent.retention.status()).toMatchObject({ isSweeping: false, lastSweep: reports[0] })
  })

  it('counts what it removed, by rule', async () => {
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO } })
    addArchives(test, 3)
    await untilReady(test, 3)
    await test.agent.retention.sweep({ trigger: 'api', actor: ACTOR })
    const { text } = await test.agent.metrics.render()
    expect(text).toContain('checkpoint_agent_retention_removed_total{rule="two"} 1')
    expect(text).toMatch(/checkpoint_agent_retention_removed_bytes_total\{rule="two"\} \d{4,}/)
    expect(text).toMatch(/checkpoint_agent_retention_last_success_timestamp_seconds 1\d{9}/)
  })

  it('says once, by name, which pins keep it from its limit', async () => {
    const logger = recordingLogger()
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO }, logger })
    const [oldest = ''] = addArchives(test, 3)
    writeFileSync(join(test.folder.checkpoints, `${oldest}.keep`), '')
    await untilReady(test, 3)
    for (let at = 0; at < 3; at += 1) await test.agent.retention.sweep({ trigger: 'schedule' })
    const said = () => logger.lines.filter(({ message }) => message.startsWith('Cannot reach a limit'))
    expect(said()).toMatchObject([{ fields: { pinned: [oldest], overCount: 1 } }])
    expect(test.archives()).toHaveLength(4)
    const { text } = await test.agent.metrics.render()
    expect(text).toContain('checkpoint_agent_retention_blocked_by_pins 1')
    expect(text).not.toContain('checkpoint_agent_retention_over_limit_bytes 0')
  })

  it('leaves an archive alone while it is verified or read', async () => {
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO } })
    const names = addArchives(test, 3)
    await untilReady(test, 3)
    const [oldest] = await readyArchives(test)
    const release = test.agent.contents.readers.hold(oldest?.id ?? '')
    expect(await test.agent.retention.sweep({ trigger: 'api', actor: ACTOR })).toMatchObject({ removed: { count: 0 } })
    release()
    await test.agent.retention.sweep({ trigger: 'api', actor: ACTOR })
    expect(test.archives()).toEqual(names.slice(1))
  })

  it('follows another policy from now on, and keeps the one it has when the other is wrong', async () => {
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO } })
    const { retention } = test.agent
    retention.usePolicy({ ...KEEP_TWO, schedule: '0 3 * * *' })
    expect(retention.status().nextSweepAt).toBeInstanceOf(Date)
    retention.refusePolicy(['retention.rules: it must be a list'])
    expect(retention.status()).toMatchObject({
      policy: { schedule: '0 3 * * *' },
      mistakes: ['retention.rules: it must be a list'],
    })
  })

  it('shows its policy so that it can be asked about again: the plan is the same', async () => {
    const value = {
      disk: { highWatermark: '55%' },
      rules: [{ match: { namespace: 'shop' }, maxCount: { perPod: 2 }, keepLast: 1 }],
    }
    const { policy } = readPolicy(value)
    await using test = await startTestAgent({ retention: { policy } })
    addArchives(test, 3)
    await untilReady(test, 3)
    const shown: unknown = JSON.parse(JSON.stringify(test.agent.retention.status().policy))
    using planned = await test.agent.retention.plan({})
    using again = await test.agent.retention.plan({ policy: shown })
    expect(again.head).toEqual(planned.head)
  })

  it('plans by a policy that somebody asks about, unless it is wrong', async () => {
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO } })
    addArchives(test, 3)
    await untilReady(test, 3)
    using plan = await test.agent.retention.plan({ policy: { rules: [{ keepLast: 1, maxCount: 1 }] } })
    expect(plan.head.totals.removedArchives).toBe(2)
    await expect(test.agent.retention.plan({ policy: { rules: [{ maxCount: -1 }] } })).rejects.toMatchObject({
      code: 'InvalidPolicy',
    })
    expect(test.archives()).toHaveLength(3)
  })

  it('does not take the deletion by another for its own', async () => {
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO } })
    const [oldest = ''] = addArchives(test, 3)
    await untilReady(test, 3)
    await vi.waitFor(() => expect(custodyOf(test).filter(({ action }) => action === 'digest')).toHaveLength(3))
    unlinkSync(join(test.folder.checkpoints, oldest))
    await vi.waitFor(() => expect(custodyOf(test).filter(({ action }) => action === 'tampering')).toHaveLength(1))
    expect(await test.agent.retention.sweep({ trigger: 'api', actor: ACTOR })).toMatchObject({ removed: { count: 0 } })
    expect(test.archives()).toHaveLength(2)
  })

  it('removes nothing when the index was taken away from it', async () => {
    await using test = await startTestAgent({ retention: { policy: KEEP_TWO } })
    addArchives(test, 3)
    await untilReady(test, 3)
    rmSync(join(test.folder.state, 'index.db'))
    await expect(test.agent.retention.sweep({ trigger: 'api', actor: ACTOR })).rejects.toMatchObject({
      code: 'PlanFailed',
    })
    expect(test.archives()).toHaveLength(3)
  })

  it('removes archives of pods that have been gone for long enough', async () => {
    const orphans: Policy = {
      ...KEEP_TWO,
      orphanGraceMs: 0,
      rules: [{ ...SHIPPED_RULE, name: 'gone', limits: { maxCount: {}, maxTotalBytes: {}, orphansMs: 1 } }],
    }
    await using test = await startTestAgent({ retention: { policy: orphans } })
    addArchives(test, 2)
    await untilReady(test, 2)
    expect(await test.agent.retention.sweep({ trigger: 'schedule' })).toMatchObject({ removed: { count: 0 } })
    countGone(test, 3_600_000)
    expect(await test.agent.retention.sweep({ trigger: 'schedule' })).toMatchObject({
      removed: { count: 2 },
      byRule: { gone: { count: 2 } },
    })
  })

  it('removes what it planned and no more while the runtime restarts, and goes, and is stuck', async () => {
    const orphans: Policy = {
      ...KEEP_TWO,
      orphanGraceMs: 0,
      rules: [
        {
          ...SHIPPED_RULE,
          name: 'gone',
          isShipped: false,
          limits: { maxCount: { workloadContainer: 2 }, maxTotalBytes: {}, orphansMs: 1 },
        },
      ],
    }
    await using test = await startTestAgent({ retention: { policy: orphans } })
    const uid = '11111111-2222-3333-4444-555555555555'
    test.runtime.addPod({ namespace: 'shop', name: 'web', uid, containers: [{ name: 'counter' }] })
    // Two batches.
    const names = addArchives(test, 90)
    await untilReady(test, 90)
    const sweep = test.agent.retention.sweep({ trigger: 'schedule' })
    const trouble = (async () => {
      await test.runtime.restart()
      await test.runtime.stop()
      await test.runtime.start()
      test.runtime.setSilent(true)
    })()
    const report = await sweep
    expect(report).toMatchObject({ outcome: 'done', byRule: { gone: { count: report.removed.count } } })
    await trouble
    // Not one for being gone: nobody has said so.
    expect((await test.agent.retention.sweep({ trigger: 'schedule' })).outcome).toBe('done')
    expect(test.archives()).toEqual(names.slice(-2))
    expect(custodyOf(test).filter(({ action }) => action === 'tampering')).toEqual([])
  })
})
