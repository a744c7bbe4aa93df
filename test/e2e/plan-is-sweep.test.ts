import * as fc from 'fast-check'
import { closeSync, ftruncateSync, lstatSync, openSync, utimesSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { generationOf } from '../../src/checkpoint/generation.ts'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { PlannedArchive } from '../../src/retention/plan-types.ts'
import { planRetention } from '../../src/retention/plan.ts'
import { SweepScene } from '../agent/retention/sweep-scene.ts'
import { NOW } from '../retention/planned-archives.ts'
import { disks, policies, stores } from '../retention/random-stores.ts'
import { sampleCheckpoint } from '../support/sample-checkpoints.ts'

const RUNS = 2_000

// The files are as large as their rows say, and have no blocks.
it('a sweep removes what the plan says and no more, whatever the archives, the policy and the disk', async () => {
  using scene = new SweepScene()
  let removed = 0
  let kept = 0
  await fc.assert(
    fc.asyncProperty(stores, policies, disks, async (archives, policy, disk) => {
      scene.empty()
      scene.policy = policy
      scene.now = new Date(NOW)
      scene.disk = disk
      scene.store.saveAll(archives.map((archive, at) => place(archive, at, scene)))

      // As the archives are wished for, and as they are read from the index.
      const wished = planRetention({ archives, policy, nowMillis: NOW, ...(disk !== undefined && { disk }) })
      using plan = await scene.planner.open({})
      const planned = namesOf(await plan.page('remove', { skip: 0, count: archives.length }))
      expect(planned).toEqual(namesOf(wished.remove))

      const report = await scene.sweeper.sweep({ trigger: 'api', planId: plan.head.id })
      expect(report).toMatchObject({ outcome: 'done', removed: { count: planned.length }, failed: { count: 0 } })
      const left = archives.map(({ fileName }) => fileName).filter((name) => !planned.includes(name))
      expect(scene.files.filter((name) => !name.endsWith('.keep'))).toEqual(left.toSorted())
      expect(namesOf(wished.keep).toSorted()).toEqual(left.toSorted())
      expect(scene.actions.filter((action) => action.startsWith('prune done')).toSorted()).toEqual(
        planned.map((name) => `prune done ${name}`).toSorted(),
      )
      expect(Object.values(scene.store.countByState()).reduce((sum, count) => sum + count, 0)).toBe(left.length)
      removed += planned.length
      kept += left.length
    }),
    { numRuns: RUNS },
  )
  console.log(`${RUNS} stores and policies: ${removed} archives removed, ${kept} left`)
  expect(Math.min(removed, kept)).toBeGreaterThan(RUNS)
})

/** Its file, its pin and all that is known of it. */
function place(archive: PlannedArchive, at: number, scene: SweepScene): Checkpoint {
  const { id, fileName, state, engine, sizeBytes, takenAtMillis, isPinned, isInUse, orphanSinceMillis } = archive
  const path = scene.path(fileName)
  const file = openSync(path, 'wx', 0o600)
  ftruncateSync(file, sizeBytes)
  closeSync(file)
  utimesSync(path, takenAtMillis / 1000, takenAtMillis / 1000)
  if (isPinned) writeFileSync(`${path}.keep`, '')
  if (isInUse) scene.inUse.add(id)
  const { namespace = '', pod = '', container = '', source, isTrusted } = archive.identity
  const podUid = `uid-of-${fileName}`
  if (orphanSinceMillis !== undefined) scene.countGone(podUid, NOW - orphanSinceMillis)
  return sampleCheckpoint(at, {
    id,
    rawName: Buffer.from(fileName),
    fileName,
    generation: generationOf(lstatSync(path, { bigint: true })),
    state,
    identity: { namespace, pod, podUid, container, source, isTrusted },
    engine,
    sizeBytes,
    takenAt: { text: new Date(takenAtMillis).toISOString(), millis: takenAtMillis },
    ...(isPinned && { pin: { by: 'manual' } as const }),
  })
}

function namesOf(removals: readonly { readonly archive: { readonly fileName: string } }[]): string[] {
  return removals.map(({ archive }) => archive.fileName)
}
