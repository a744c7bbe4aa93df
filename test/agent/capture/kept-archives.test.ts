import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type * as nodeFs from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type * as stagedCheck from '../../../src/agent/capture/staged-check.ts'
import { STAGING_FOLDER } from '../../../src/agent/directory/staging.ts'
import { formatArchiveName } from '../../../src/checkpoint/archive-name.ts'
import { jobState, type CaptureJob, type ContainerCapture } from '../../../src/checkpoint/capture-job.ts'
import { archiveProblem } from '../../support/archive-check.ts'
import { hangs } from '../../support/simulated-runtime-faults.ts'
import { startTestAgent, type TestAgent } from '../../support/test-agent.ts'

/** What goes wrong at the disk and at the reader while these are set. */
const broken = vi.hoisted(() => ({ link: undefined as string | undefined, check: undefined as string | undefined }))

vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof nodeFs>()
  const link: typeof fs.link = async (from, to) => {
    if (broken.link === undefined) return await fs.link(from, to)
    throw Object.assign(new Error(`${broken.link}: no, link '${String(to)}'`), { code: broken.link, syscall: 'link' })
  }
  return { ...fs, link }
})

vi.mock('../../../src/agent/capture/staged-check.ts', async (original) => {
  const module = await original<typeof stagedCheck>()
  const readerCheck: typeof module.readerCheck = (...order) => {
    const real = module.readerCheck(...order)
    return {
      ...real,
      check: async (archive) =>
        broken.check === undefined ? await real.check(archive) : { kind: 'cannot-tell', why: broken.check },
    }
  }
  return { ...module, readerCheck }
})

beforeEach(() => {
  broken.link = undefined
  broken.check = undefined
})

vi.setConfig({ testTimeout: 60_000 })

const COUNTER = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'ada' }

async function capture({ agent }: TestAgent, changes: { readonly pin?: boolean } = {}): Promise<CaptureJob> {
  const { id } = await agent.captures.request({ ...COUNTER, ...changes })
  return await agent.captures.wait(id, {})
}

const stagedBy = (test: TestAgent, { id }: CaptureJob) =>
  join(test.folder.checkpoints, STAGING_FOLDER, `${id}-0`, 'archive.tar')

const only = ({ captures: [first] }: CaptureJob): ContainerCapture => {
  if (first === undefined) throw new Error('the job has no capture')
  return first
}

async function custodyEntries({ agent }: TestAgent) {
  const { entries } = await agent.custody.page({ after: 0, limit: 100 })
  return entries.filter(({ action }) => action === 'capture').map(({ outcome, detail }) => ({ outcome, detail }))
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitUntil(isSo, { interval: 5, timeout: 20_000 })
}

const unpublished = async ({ agent }: TestAgent) => (await agent.status(undefined)).captures.unpublished
const health = ({ agent }: TestAgent) => agent.health().find(({ name }) => name === 'unpublished-archives')

describe('a whole archive that cannot be published', () => {
  it.each([
    { failure: 'EIO', code: 'LocationNotWritable' },
    { failure: 'ENOSPC', code: 'DiskFull' },
    { failure: 'EMLINK', code: 'LocationNotWritable' },
  ])('for $failure is kept and told of, and published by the next start that can', async ({ failure, code }) => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    broken.link = failure
    const job = await capture(test)
    expect(only(job)).toMatchObject({
      state: 'failed',
      failure: {
        code,
        detail: expect.stringContaining('; the archive is kept in the staging directory'),
        hint: expect.stringContaining('publishes the archive when it is started again'),
        isArchiveKept: true,
      },
    })
    expect(test.archives()).toEqual([])
    expect(archiveProblem(stagedBy(test, job))).toBeUndefined()
    expect(await unpublished(test)).toBe(1)
    expect(health(test)).toMatchObject({
      state: 'degraded',
      reason: expect.stringContaining('1 whole archive is kept'),
    })
    expect((await test.agent.metrics.render()).text).toMatch(/^checkpoint_agent_unpublished_archives 1$/m)
    expect(await custodyEntries(test)).toMatchObject([
      { outcome: 'intended' },
      { outcome: 'failed', detail: { job: job.id, code, isArchiveKept: true } },
    ])

    // The disk is not well yet.
    await test.restart()
    await until(async () => (await unpublished(test)) === 1)
    expect(archiveProblem(stagedBy(test, job))).toBeUndefined()
    expect(jobState(test.agent.captures.get(job.id))).toBe('failed')

    broken.link = undefined
    await test.restart()
    await until(() => jobState(test.agent.captures.get(job.id)) === 'succeeded')
    await until(() => test.leftovers().length === 0)
    const [name = ''] = test.archives()
    expect(only(test.agent.captures.get(job.id)).archive?.fileName).toBe(name)
    expect(archiveProblem(join(test.folder.checkpoints, name))).toBeUndefined()
    await until(async () => (await unpublished(test)) === 0)
    expect(health(test)).toEqual({ name: 'unpublished-archives', state: 'ok' })
    await until(async () => (await custodyEntries(test)).at(-1)?.outcome === 'done')
  })

  it('is not there any more at the next start where a person took it: the job says so', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    broken.link = 'EIO'
    const job = await capture(test)
    rmSync(stagedBy(test, job))
    expect(await unpublished(test)).toBe(0)
    await test.restart()
    const failure = () => only(test.agent.captures.get(job.id)).failure
    await until(() => failure()?.code === 'ArchiveGone')
    expect(failure()?.isArchiveKept).toBeUndefined()
    await until(() => test.leftovers().length === 0)
  })

  it('does not keep the next capture of the container away', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    broken.link = 'EIO'
    const job = await capture(test)
    broken.link = undefined
    expect(jobState(await capture(test))).toBe('succeeded')
    expect(existsSync(stagedBy(test, job))).toBe(true)
  })
})

describe('an archive of which nobody can tell whether it is whole', () => {
  it('is kept, and published when the check can be made', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    broken.check = 'its reader was killed'
    const job = await capture(test)
    expect(only(job)).toMatchObject({
      state: 'failed',
      failure: {
        code: 'ArchiveUnchecked',
        detail: expect.stringContaining('its reader was killed'),
        isArchiveKept: true,
      },
    })
    expect(archiveProblem(stagedBy(test, job))).toBeUndefined()
    await test.restart()
    await until(async () => (await unpublished(test)) === 1)
    expect(existsSync(stagedBy(test, job))).toBe(true)
    broken.check = undefined
    await test.restart()
    await until(() => test.archives().length === 1)
  })

  it('after a cancel is kept as well', async () => {
    await using test = await startTestAgent({}, { taskStateTimeoutMs: 30 })
    test.runtime.webPod()
    test.runtime.faults.next({ ...hangs, windDownMs: 100, finishesFileAfterCancel: true })
    broken.check = 'its reader was killed'
    const { id } = await test.agent.captures.request(COUNTER)
    await until(() => test.runtime.dumpsRunning === 1)
    writeFileSync(join(test.folder.checkpoints, STAGING_FOLDER, `${id}-0`, 'archive.tar'), 'as much as there is')
    const job = await test.agent.captures.cancel(id)
    expect(only(job)).toMatchObject({ state: 'failed', failure: { code: 'ArchiveUnchecked', isArchiveKept: true } })
    expect(existsSync(stagedBy(test, job))).toBe(true)
    broken.check = undefined
    await test.restart()
    await until(() => test.leftovers().length === 0)
    expect(test.archives()).toEqual([])
  })
})

describe('an archive that is to be kept', () => {
  it('is never seen without its marker: where that cannot be written, the job fails and the archive waits', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.next({ dumpMs: 1, cleanupMs: 500 })
    const { id } = await test.agent.captures.request({ ...COUNTER, pin: true })
    const folder = join(test.folder.checkpoints, STAGING_FOLDER, `${id}-0`)
    await until(() => existsSync(join(folder, 'archive.tar')))
    mkdirSync(join(folder, 'archive.tar.keep'))
    const job = await test.agent.captures.wait(id, {})
    expect(only(job)).toMatchObject({
      state: 'failed',
      failure: { code: 'LocationNotWritable', detail: expect.stringContaining('EISDIR'), isArchiveKept: true },
    })
    expect(test.archives()).toEqual([])

    rmSync(join(folder, 'archive.tar.keep'), { recursive: true })
    await test.restart()
    await until(() => test.archives().length === 2)
    const [name = '', marker = ''] = test.archives().toSorted()
    expect(marker).toBe(`${name}.keep`)
    expect(JSON.parse(readFileSync(join(test.folder.checkpoints, marker), 'utf8'))).toMatchObject({ user: 'ada' })
  })

  it('leaves no marker behind where the archive does not get the name', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    broken.link = 'EIO'
    await capture(test, { pin: true })
    expect(test.archives()).toEqual([])
  })

  it('takes the next name where a file or the marker of somebody else is in the way, and touches neither', async () => {
    const now = new Date('2026-11-21T10:00:00.500Z')
    await using test = await startTestAgent({ clock: { now: () => now } })
    test.runtime.webPod()
    const nameOf = (second: number) =>
      formatArchiveName({ ...COUNTER, takenAt: new Date(now.getTime() + second * 1_000) })
    const [file, marker, expected] = [nameOf(0), `${nameOf(1)}.keep`, nameOf(2)]
    for (const name of [file, marker]) writeFileSync(join(test.folder.checkpoints, name), "somebody else's")
    const job = await capture(test, { pin: true })
    expect(only(job)).toMatchObject({ state: 'succeeded', archive: { fileName: expected } })
    expect(test.archives().toSorted()).toEqual([file, marker, expected, `${expected}.keep`].toSorted())
    for (const name of [file, marker]) {
      expect(readFileSync(join(test.folder.checkpoints, name), 'utf8')).toBe("somebody else's")
    }
  })
})
