import { chmodSync, existsSync, lstatSync, readdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { status as Code } from '@grpc/grpc-js'
import Sqlite from 'better-sqlite3'
import { describe, expect, it, vi } from 'vitest'
import { STAGING_FOLDER } from '../../../src/agent/directory/staging.ts'
import { jobState, type CaptureJob } from '../../../src/checkpoint/capture-job.ts'
import { ConflictError, NotFoundError, OutOfSpaceError, UnavailableError } from '../../../src/shared/errors.ts'
import { archiveProblem } from '../../support/archive-check.ts'
import type { PodSettings } from '../../support/simulated-pods.ts'
import {
  diskFull,
  establishedTcp,
  fails,
  fileWithoutEnd,
  fileWithStaleTail,
  halfFileThenError,
  noFile,
  slow,
} from '../../support/simulated-runtime-faults.ts'
import { kubeletCheckpoint, startTestAgent, type TestAgent } from '../../support/test-agent.ts'

// They wait more than they work.
vi.setConfig({ maxConcurrency: 10 })

const COUNTER = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'test' }
const MIB = 1024 * 1024

/** Three containers that run, and one that does not. */
const TRIO: PodSettings = {
  namespace: 'shop',
  name: 'trio',
  containers: [{ name: 'a' }, { name: 'b' }, { name: 'c' }, { name: 'done', state: 'exited' }],
}

const ofTrio = (container: string) => ({ namespace: 'shop', pod: 'trio', container, requestedBy: 'test' })

async function capture(test: TestAgent, wish: Parameters<TestAgent['agent']['captures']['request']>[0]) {
  const { id } = await test.agent.captures.request(wish)
  return await test.agent.captures.wait(id, {})
}

/** `expect.poll` belongs to one test at a time. */
async function until(isSo: () => boolean): Promise<void> {
  await vi.waitUntil(isSo, { interval: 5, timeout: 10_000 })
}

const dumpsOf = (test: TestAgent, containerId: string) => test.runtime.calls.checkpoints(containerId)

/** Of a container that is there: the probe at the start asks for one that is not. */
function allDumps(test: TestAgent) {
  return test.runtime.calls.checkpoints().filter(({ location }) => location !== '')
}

describe.concurrent('a capture', () => {
  it("takes a checkpoint under the kubelet's name, for root only", async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const job = await capture(test, COUNTER)
    expect(jobState(job)).toBe('succeeded')
    const [name = ''] = test.archives()
    expect(name).toMatch(/^checkpoint-web-node-a_shop-counter-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)\.tar$/)
    const path = join(test.folder.checkpoints, name)
    expect(archiveProblem(path)).toBeUndefined()
    const stat = lstatSync(path)
    expect(stat.mode & 0o777).toBe(0o600)
    expect(stat.nlink).toBe(1)
    expect(job.captures[0]).toMatchObject({
      identity: { namespace: 'shop', pod: 'web-node-a', container: 'counter' },
      bytesWritten: stat.size,
      archive: { fileName: name, sizeBytes: stat.size },
    })
    expect(job.captures[0]?.phases.map((phase) => phase.name)).toEqual([
      'admission',
      'dump',
      'verify',
      'sync',
      'publish',
    ])
    expect(test.leftovers()).toEqual([])
    expect(test.runtime.calls.overlaps).toBe(0)
    expect(allDumps(test)).toMatchObject([{ hasDeadline: false, outcome: 'ok' }])
  })

  it('gives a name that is taken the next free second, and touches nothing of the other file', async () => {
    const now = new Date('2026-11-21T10:00:00.500Z')
    await using test = await startTestAgent({ clock: { now: () => now } })
    test.runtime.webPod()
    await capture(test, COUNTER)
    const [taken = ''] = test.archives()
    writeFileSync(join(test.folder.checkpoints, taken), "somebody else's")
    const second = await capture(test, COUNTER)
    expect(test.archives()).toHaveLength(2)
    expect(readFileSync(join(test.folder.checkpoints, taken), 'utf8')).toBe("somebody else's")
    expect(second.captures[0]?.archive?.fileName).toMatch(/:01(Z|[+-]\d\d:\d\d)\.tar$/)
    expect(second.captures[0]?.archive?.takenAt).toEqual(now)
  })

  it('closes to others an archive that the runtime left open', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.next({ dumpMs: 1, cleanupMs: 1_000 })
    const { id } = await test.agent.captures.request(COUNTER)
    const staged = join(test.folder.checkpoints, STAGING_FOLDER, `${id}-0`, 'archive.tar')
    await until(() => existsSync(staged))
    chmodSync(staged, 0o644)
    const job = await test.agent.captures.wait(id, {})
    const published = join(test.folder.checkpoints, job.captures[0]?.archive?.fileName ?? '')
    expect(lstatSync(published).mode & 0o777).toBe(0o600)
  })

  it('shows how much has been written so far', async () => {
    await using test = await startTestAgent()
    const counter = test.runtime.webPod().container('counter')
    counter.memoryBytes = MIB
    test.runtime.faults.next({ dumpMs: 1, exportBytesPerSecond: MIB })
    const { id } = await test.agent.captures.request(COUNTER)
    const written = () => test.agent.captures.get(id).captures[0]?.bytesWritten ?? 0
    await until(() => written() > 0)
    const early = written()
    await until(() => written() > early)
    const job = await test.agent.captures.wait(id, {})
    expect(job.captures[0]?.bytesWritten).toBe(job.captures[0]?.archive?.sizeBytes)
  })

  it('tells those who watch each of its states, and how much has been written', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod().container('counter').memoryBytes = MIB
    test.runtime.faults.next({ dumpMs: 1, exportBytesPerSecond: MIB })
    const told: CaptureJob[] = []
    const ids: string[] = []
    test.agent.checkpoints.watch(undefined, ({ id, job }) => {
      if (job === undefined) return
      told.push(job)
      ids.push(id)
    })
    const job = await capture(test, COUNTER)
    const states = told.map(jobState)
    expect(states.filter((state, index) => state !== states[index - 1])).toEqual([
      'queued',
      'running',
      'sealing',
      'succeeded',
    ])
    expect(told.at(-1)).toEqual(job)
    const sizes = told.filter((each) => jobState(each) === 'running').map((each) => each.captures[0]?.bytesWritten ?? 0)
    // One megabyte in a second, told twice a second.
    expect(sizes.length).toBeGreaterThanOrEqual(2)
    expect(sizes.length).toBeLessThan(20)
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b))
    expect(sizes.at(-1)).toBeGreaterThan(0)
    // Who comes back gets the states.
    const missed: CaptureJob[] = []
    test.agent.checkpoints.watch(ids[0], (event) => {
      if (event.job !== undefined) missed.push(event.job)
    })
    expect(missed.map(jobState)).toEqual(['running', 'sealing', 'succeeded'])
  })

  it('is in the list as soon as it is answered, as what was seen and not read', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    for (let round = 0; round < 3; round += 1) {
      const { captures } = await capture(test, COUNTER)
      const { checkpointId = '', sizeBytes } = captures[0]?.archive ?? {}
      expect(await test.agent.checkpoints.get(checkpointId)).toMatchObject({
        sizeBytes,
        identity: { namespace: 'shop', pod: 'web-node-a', container: 'counter', source: 'observed' },
      })
      expect((await test.agent.status(undefined)).checkpoints.count).toBe(round + 1)
    }
  })

  it.each(['succeeded', 'failed'])(
    'that is shown as %s is over: the next one of the container is not refused',
    async (end) => {
      await using test = await startTestAgent()
      test.runtime.webPod()
      if (end === 'failed') test.runtime.faults.next(fails(Code.INTERNAL, 'criu failed'))
      const { id } = await test.agent.captures.request(COUNTER)
      let state = 'queued'
      while (['queued', 'running', 'sealing'].includes(state)) {
        await nextTurn()
        state = jobState(test.agent.captures.get(id))
      }
      expect(state).toBe(end)
      expect(test.agent.captures.counts).toMatchObject({ running: 0, queued: 0 })
      expect(test.leftovers()).toEqual([])
      expect(jobState(await capture(test, COUNTER))).toBe('succeeded')
    },
  )

  it('is told of when it is cancelled in the queue', async () => {
    await using test = await startTestAgent()
    test.runtime.addPod(TRIO)
    test.runtime.faults.next(slow(200))
    const told: string[] = []
    await test.agent.captures.request(ofTrio('a'))
    const { id } = await test.agent.captures.request(ofTrio('b'))
    test.agent.checkpoints.watch(undefined, ({ job }) => {
      if (job?.id === id) told.push(jobState(job))
    })
    await test.agent.captures.cancel(id)
    expect(told).toEqual(['cancelled'])
  })

  it.each([
    { name: 'a full disk', script: diskFull, code: 'DiskFull' },
    { name: 'an established connection', script: establishedTcp, code: 'TcpEstablished' },
    { name: 'an error with half a file', script: halfFileThenError, code: 'Unclassified' },
    { name: 'success without an archive', script: noFile, code: 'ArchiveIncomplete' },
    { name: 'success with an archive that is cut off', script: fileWithoutEnd, code: 'ArchiveIncomplete' },
    { name: 'success with the tail of an older file', script: fileWithStaleTail, code: 'ArchiveIncomplete' },
    { name: 'a runtime that gave up', script: fails(14, 'transport is closing'), code: 'RuntimeUnavailable' },
  ])('leaves nothing behind after $name, and the next one is taken', async ({ script, code }) => {
    await using test = await startTestAgent()
    const counter = test.runtime.webPod().container('counter')
    test.runtime.faults.next(script)
    const job = await capture(test, COUNTER)
    expect(job.captures[0]).toMatchObject({ state: 'failed', failure: { code, hint: expect.stringMatching(/\.$/) } })
    expect(test.archives()).toEqual([])
    expect(test.leftovers()).toEqual([])
    expect(counter.canExec).toBe(true)
    expect(jobState(await capture(test, COUNTER))).toBe('succeeded')
  })

  it('lets the caller go when its time is over, or when it hangs up, and goes on', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.next(slow(2_000))
    const { id } = await test.agent.captures.request(COUNTER)
    await until(() => jobState(test.agent.captures.get(id)) === 'running')
    expect(jobState(await test.agent.captures.wait(id, { timeoutMs: 50 }))).toBe('running')
    expect(jobState(await test.agent.captures.wait(id, { signal: AbortSignal.timeout(50) }))).toBe('running')
    expect(jobState(await test.agent.captures.wait(id, { signal: AbortSignal.abort() }))).toBe('running')
    expect(jobState(await test.agent.captures.wait(id, {}))).toBe('succeeded')
    expect(allDumps(test)).toMatchObject([{ hasDeadline: false }])
  })

  it('of a pod whose name nobody can read is asked for by its readable name', async () => {
    await using test = await startTestAgent()
    const name = Buffer.from([0x61, 0xff, 0x0a])
    test.runtime.addPod({ namespace: 'shop', name, containers: [{ name: Buffer.from('c\u001b') }] })
    const job = await capture(test, {
      namespace: 'shop',
      pod: String.raw`a\xff\x0a`,
      container: String.raw`c\x1b`,
      requestedBy: 'test',
    })
    expect(jobState(job)).toBe('succeeded')
    expect(test.archives()).toEqual([expect.stringMatching(/^checkpoint-a\\xff\\x0a_shop-c\\x1b-\d{4}-/)])
  })

  it('writes a marker beside the archive when it is to be kept', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const job = await capture(test, { ...COUNTER, pin: true, reason: 'before the upgrade' })
    const name = job.captures[0]?.archive?.fileName ?? ''
    expect(test.archives().toSorted()).toEqual([name, `${name}.keep`])
    const note: unknown = JSON.parse(readFileSync(join(test.folder.checkpoints, `${name}.keep`), 'utf8'))
    expect(note).toEqual({
      pinnedBy: 'checkpoint-agent',
      user: 'test',
      at: expect.stringMatching(/^\d{4}-.*Z$/),
      reason: 'before the upgrade',
    })
    expect(lstatSync(join(test.folder.checkpoints, `${name}.keep`)).mode & 0o777).toBe(0o600)
  })
})

describe('what a capture asks the runtime before it touches the container', () => {
  const { signal } = new AbortController()

  it.each([
    { name: 'on our own way', take: (test: TestAgent) => capture(test, COUNTER) },
    {
      name: "on the kubelet's way",
      take: (test: TestAgent) => kubeletCheckpoint(test.agent, { ...COUNTER, timeoutMs: 60_000, signal }),
    },
  ])('is one look at the node and one at the size, $name', async ({ take }) => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    await capture(test, COUNTER)
    let asked: readonly number[] = [1, 0]
    // The agent also looks around by itself, once in a while. What is too old when the turn comes is asked for again, all of it.
    for (let round = 0; round < 5 && asked[0] !== asked[1]; round += 1) {
      const before = test.runtime.calls.calls.length
      await take(test)
      const calls = test.runtime.calls.calls.slice(before).map(({ method }) => method)
      asked = ['ListPodSandbox', 'ListContainerStats'].map((wanted) => calls.filter((call) => call === wanted).length)
    }
    expect(asked[0]).toBe(asked[1])
  })

  it('does not count where it was asked ahead of a container that was restarted meanwhile', async () => {
    await using test = await startTestAgent()
    const pod = test.runtime.webPod()
    await capture(test, COUNTER)
    const old = pod.container('counter')
    old.exit()
    const { id } = test.runtime.pods.addContainer(pod, { name: 'counter', attempt: 1 })
    const before = test.runtime.calls.calls.length
    const job = await capture(test, COUNTER)
    expect(job.captures[0]).toMatchObject({ state: 'succeeded', identity: { containerId: id } })
    const looks = test.runtime.calls.calls.slice(before).filter(({ method }) => method === 'Get')
    expect(new Set(looks.map(({ containerId }) => containerId))).toEqual(new Set([old.id, id]))
  })
})

describe.concurrent('a request', () => {
  it.each([
    { name: 'a pod that is not here', wish: { pod: 'other' }, kind: NotFoundError, code: 'PodNotFound' },
    { name: 'a pod of another namespace', wish: { namespace: 'bank' }, kind: NotFoundError, code: 'PodNotFound' },
    { name: 'a container that is not there', wish: { container: 'x' }, kind: NotFoundError, code: 'ContainerNotFound' },
    {
      name: 'a container that crashed',
      wish: { container: 'crash' },
      kind: ConflictError,
      code: 'ContainerNotRunning',
    },
    {
      name: 'an init container that is done',
      wish: { container: 'init' },
      kind: ConflictError,
      code: 'ContainerNotRunning',
    },
    { name: 'a pod that was replaced', wish: { podUid: 'another' }, kind: ConflictError, code: 'PodUidMismatch' },
  ])('for $name is refused before anything is touched', async ({ wish, kind, code }) => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const refusal = test.agent.captures.request({ ...COUNTER, ...wish })
    await expect(refusal).rejects.toBeInstanceOf(kind)
    await expect(refusal).rejects.toMatchObject({ code, hint: expect.stringMatching(/\.$/) })
    await expect(test.agent.captures.requestBehind({ ...COUNTER, ...wish })).rejects.toMatchObject({ code })
    expect(allDumps(test)).toEqual([])
    expect(test.agent.captures.list({ limit: 10 }).jobs).toEqual([])
  })

  it('for a pod of which nothing runs is refused', async () => {
    await using test = await startTestAgent()
    test.runtime.addPod({ namespace: 'shop', name: 'done', containers: [{ name: 'a', state: 'exited' }] })
    await expect(
      test.agent.captures.request({ namespace: 'shop', pod: 'done', requestedBy: 'test' }),
    ).rejects.toMatchObject({ code: 'ContainerNotRunning', message: expect.stringContaining('none of its containers') })
  })

  it('with the uid of the pod is taken, and of two sandboxes the ready one counts', async () => {
    await using test = await startTestAgent()
    test.runtime.addPod({
      namespace: 'shop',
      name: 'web-0',
      uid: 'old',
      isReady: false,
      containers: [{ name: 'a', state: 'exited' }],
    })
    test.runtime.addPod({ namespace: 'shop', name: 'web-0', uid: 'new', containers: [{ name: 'a' }] })
    const wish = { namespace: 'shop', pod: 'web-0', container: 'a', requestedBy: 'test' }
    await expect(test.agent.captures.request({ ...wish, podUid: 'old' })).rejects.toMatchObject({
      code: 'PodUidMismatch',
    })
    const job = await capture(test, { ...wish, podUid: 'new' })
    expect(job.captures[0]).toMatchObject({ state: 'succeeded', identity: { podUid: 'new' } })
  })

  it('is told which capture of the same container is under way', async () => {
    await using test = await startTestAgent({ capture: { concurrency: 4 } })
    test.runtime.webPod()
    test.runtime.faults.next(slow(1_500))
    const { id } = await test.agent.captures.request(COUNTER)
    const refusal = test.agent.captures.request(COUNTER)
    await expect(refusal).rejects.toBeInstanceOf(ConflictError)
    await expect(refusal).rejects.toMatchObject({ code: 'CaptureInFlight', extra: { job: id } })
    // The pod as a whole includes that container.
    const wholePod = test.agent.captures.request({ namespace: 'shop', pod: 'web-node-a', requestedBy: 'test' })
    await expect(wholePod).rejects.toMatchObject({ code: 'CaptureInFlight', extra: { job: id } })
    await test.agent.captures.wait(id, {})
    expect(jobState(await capture(test, COUNTER))).toBe('succeeded')
  })

  it('of two at the same moment is taken once', async () => {
    await using test = await startTestAgent({ capture: { concurrency: 4 } })
    test.runtime.webPod()
    const outcomes = await Promise.allSettled([
      test.agent.captures.request(COUNTER),
      test.agent.captures.request(COUNTER),
    ])
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    await Promise.all(test.agent.captures.list({ limit: 10 }).jobs.map(({ id }) => test.agent.captures.wait(id, {})))
    expect(test.archives()).toHaveLength(1)
  })

  it('is refused when enough wait already, before anything is touched', async () => {
    await using test = await startTestAgent({ capture: { queueLimit: 1 } })
    test.runtime.addPod(TRIO)
    test.runtime.faults.always(slow(1_000))
    const first = await test.agent.captures.request(ofTrio('a'))
    const second = await test.agent.captures.request(ofTrio('b'))
    const refusal = test.agent.captures.request(ofTrio('c'))
    await expect(refusal).rejects.toBeInstanceOf(UnavailableError)
    await expect(refusal).rejects.toMatchObject({ code: 'QueueFull' })
    expect(test.agent.captures.counts).toEqual({ running: 1, queued: 1, queueLimit: 1 })
    for (const { id } of [first, second]) await test.agent.captures.wait(id, {})
    expect(allDumps(test)).toHaveLength(2)
  })

  it('is refused while the index cannot be written, before anything is frozen', async () => {
    await using test = await startTestAgent()
    const counter = test.runtime.webPod().container('counter')
    const index = new Sqlite(join(test.folder.state, 'index.db'))
    index.exec("CREATE TRIGGER full BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
    index.close()
    const refusal = test.agent.captures.request(COUNTER)
    await expect(refusal).rejects.toBeInstanceOf(UnavailableError)
    await expect(refusal).rejects.toMatchObject({ code: 'StateUnavailable', message: expect.stringContaining('full') })
    await expect(test.agent.captures.requestBehind(COUNTER)).rejects.toMatchObject({ code: 'StateUnavailable' })
    expect(dumpsOf(test, counter.id)).toEqual([])
    expect(test.leftovers()).toEqual([])
    expect(test.agent.captures.findInFlight(counter.id)).toBeUndefined()
  })

  it('goes on when the index fails after it was taken', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.next(slow(1_000))
    const { id } = await test.agent.captures.request(COUNTER)
    const index = new Sqlite(join(test.folder.state, 'index.db'))
    index.exec(
      "CREATE TRIGGER full BEFORE UPDATE ON captures BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )
    index.close()
    await test.agent.captures.wait(id, {})
    expect(test.archives()).toHaveLength(1)
  })

  it('finds no capture under an id that never was', async () => {
    await using test = await startTestAgent()
    expect(() => test.agent.captures.get('never')).toThrow(NotFoundError)
    await expect(test.agent.captures.wait('never', {})).rejects.toMatchObject({ code: 'CaptureNotFound' })
    await expect(test.agent.captures.cancel('never')).rejects.toMatchObject({ code: 'CaptureNotFound' })
  })
})

describe.concurrent('captures that wait', () => {
  it('queue behind one of the same container, in their order, and get an archive each', async () => {
    await using test = await startTestAgent({ capture: { concurrency: 4 } })
    test.runtime.webPod()
    test.runtime.faults.always(slow(60))
    const ids: string[] = []
    for (let at = 0; at < 4; at += 1) ids.push((await test.agent.captures.requestBehind(COUNTER)).id)
    const jobs = await Promise.all(ids.map((id) => test.agent.captures.wait(id, {})))
    expect(jobs.map(jobState)).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded'])
    const names = jobs.map((job) => job.captures[0]?.archive?.fileName)
    expect(new Set(names).size).toBe(4)
    const starts = jobs.map((job) => job.captures[0]?.startedAt?.getTime() ?? 0)
    expect(starts).toEqual(starts.toSorted((a, b) => a - b))
    expect(test.runtime.calls.overlaps).toBe(0)
    expect(test.runtime.calls.mostDumpsAtOnce).toBe(1)
  })

  it('never get an archive that was begun before they asked', async () => {
    await using test = await startTestAgent()
    const { id: containerId } = test.runtime.webPod().container('counter')
    test.runtime.faults.always(slow(700))
    const first = await test.agent.captures.requestBehind(COUNTER)
    await until(() => dumpsOf(test, containerId).length === 1)
    const askedAt = new Date()
    const second = await test.agent.captures.requestBehind(COUNTER)
    await test.agent.captures.wait(second.id, {})
    expect(second.id).not.toBe(first.id)
    const [, dump] = dumpsOf(test, containerId)
    expect(dump?.startedAt.getTime()).toBeGreaterThanOrEqual(askedAt.getTime())
  })

  it('look at the container again when their turn comes', async () => {
    await using test = await startTestAgent()
    const pod = test.runtime.webPod()
    const counter = pod.container('counter')
    test.runtime.faults.next({ dumpMs: 1, cleanupMs: 1_500 })
    const first = await test.agent.captures.requestBehind(COUNTER)
    const second = await test.agent.captures.requestBehind(COUNTER)
    await until(() => (test.agent.captures.get(first.id).captures[0]?.bytesWritten ?? 0) > 0)
    // It ends, and is restarted, while the first capture is still under way.
    counter.exit()
    test.runtime.pods.addContainer(pod, { name: 'counter', attempt: 1 })
    await test.agent.captures.wait(first.id, {})
    const job = await test.agent.captures.wait(second.id, {})
    expect(job.captures[0]).toMatchObject({ state: 'failed', failure: { code: 'ContainerNotRunning' } })
    expect(dumpsOf(test, counter.id)).toHaveLength(1)
  })

  it('do not trust what was found out when they asked', async () => {
    await using test = await startTestAgent()
    const pod = test.runtime.addPod(TRIO)
    test.runtime.faults.next(slow(1_200))
    const first = await test.agent.captures.request(ofTrio('a'))
    const second = await test.agent.captures.request(ofTrio('b'))
    pod.container('b').exit()
    await test.agent.captures.wait(first.id, {})
    const job = await test.agent.captures.wait(second.id, {})
    expect(job.captures).toMatchObject([{ state: 'failed', failure: { code: 'ContainerNotRunning' } }])
    expect(dumpsOf(test, pod.container('b').id)).toEqual([])
  })

  it('are taken out of the queue by a cancel, and the container is never touched', async () => {
    await using test = await startTestAgent()
    const pod = test.runtime.addPod(TRIO)
    test.runtime.faults.always(slow(700))
    const first = await test.agent.captures.request(ofTrio('a'))
    const second = await test.agent.captures.request(ofTrio('b'))
    const third = await test.agent.captures.request(ofTrio('c'))
    const begun = performance.now()
    const cancelled = await test.agent.captures.cancel(second.id)
    expect(performance.now() - begun).toBeLessThan(10_000)
    expect(cancelled.captures).toMatchObject([{ state: 'cancelled', failure: { code: 'CaptureCancelled' } }])
    expect(cancelled.captures[0]?.startedAt).toBeUndefined()
    for (const { id } of [first, third]) expect(jobState(await test.agent.captures.wait(id, {}))).toBe('succeeded')
    expect(dumpsOf(test, pod.container('b').id)).toEqual([])
    await expect(test.agent.captures.cancel(second.id)).rejects.toMatchObject({ code: 'CaptureFinished' })
    expect(test.agent.captures.get(second.id)).toEqual(cancelled)
  })
})

describe.concurrent('a whole pod', () => {
  const WHOLE = { namespace: 'shop', pod: 'trio', requestedBy: 'test' }

  it('is captured one running container after the other, in one job', async () => {
    await using test = await startTestAgent({ capture: { concurrency: 4 } })
    test.runtime.addPod(TRIO)
    test.runtime.faults.always(slow(40))
    const job = await capture(test, WHOLE)
    expect(job.wholePod).toBe(true)
    expect(job.captures.map(({ identity, state }) => `${identity.container} ${state}`).toSorted()).toEqual([
      'a succeeded',
      'b succeeded',
      'c succeeded',
    ])
    expect(test.runtime.calls.mostDumpsAtOnce).toBe(1)
    expect(test.archives()).toHaveLength(3)
  })

  it('goes on when one of its containers cannot be captured', async () => {
    await using test = await startTestAgent()
    const pod = test.runtime.addPod(TRIO)
    test.runtime.faults.next(establishedTcp, { containerId: pod.container('b').id })
    const job = await capture(test, WHOLE)
    expect(jobState(job)).toBe('failed')
    const states = new Map(job.captures.map(({ identity, state }) => [identity.container, state]))
    expect(Object.fromEntries(states)).toEqual({ a: 'succeeded', b: 'failed', c: 'succeeded' })
    expect(test.archives()).toHaveLength(2)
  })

  it('waits for all of its containers, and keeps others off them', async () => {
    await using test = await startTestAgent({ capture: { concurrency: 4 } })
    const pod = test.runtime.addPod(TRIO)
    test.runtime.faults.always(slow(500))
    const one = await test.agent.captures.request({ ...WHOLE, container: 'b' })
    const whole = await test.agent.captures.requestBehind(WHOLE)
    expect(test.agent.captures.findInFlight(pod.container('a').id)).toBe(whole.id)
    await expect(test.agent.captures.request({ ...WHOLE, container: 'c' })).rejects.toMatchObject({
      code: 'CaptureInFlight',
      extra: { job: whole.id },
    })
    for (const { id } of [one, whole]) expect(jobState(await test.agent.captures.wait(id, {}))).toBe('succeeded')
    expect(test.runtime.calls.overlaps).toBe(0)
  })
})

describe.concurrent('a container that somebody paused', () => {
  it('is not captured, and stays paused', async () => {
    await using test = await startTestAgent()
    const counter = test.runtime.webPod().container('counter')
    counter.pause()
    await expect(capture(test, COUNTER)).rejects.toMatchObject({
      code: 'ContainerPaused',
      hint: expect.stringMatching(/tasks resume ID.*\/unpause\/ID/),
    })
    await sleep(300)
    expect(counter.task).toBe('paused')
    expect(test.runtime.calls.checkpoints(counter.id)).toEqual([])
    expect(test.runtime.calls.calls.filter(({ method }) => method === 'Resume')).toEqual([])
    expect(test.agent.captures.findInFlight(counter.id)).toBeUndefined()
  })
})

function freeBytes(test: TestAgent): number {
  const { bavail, bsize } = statfsSync(test.folder.checkpoints)
  return bavail * bsize
}

describe('the disk', () => {
  it('must have room for what the capture may need, before anything is touched', async () => {
    await using test = await startTestAgent({ capture: { diskFloor: { fraction: 0, minFreeBytes: 2 ** 52 } } })
    const counter = test.runtime.webPod().container('counter')
    const refusal = test.agent.captures.request(COUNTER)
    await expect(refusal).rejects.toBeInstanceOf(OutOfSpaceError)
    await expect(refusal).rejects.toMatchObject({ code: 'DiskFloor', extra: { floorBytes: 2 ** 52 } })
    expect(dumpsOf(test, counter.id)).toEqual([])
  })

  it.each([
    { is: 'containerd 2.1.9', factor: 4 },
    { is: 'cri-o 1.36.3', factor: 2 },
  ])('on $is is taken to need $factor times the size', async ({ is, factor }) => {
    await using test = await startTestAgent({ capture: { diskFloor: { fraction: 0, minFreeBytes: 2 ** 52 } } }, { is })
    const counter = test.runtime.webPod().container('counter')
    counter.memoryBytes = 100 * MIB
    counter.writableLayerBytes = 28 * MIB
    await test.agent.status(undefined)
    const error: unknown = await test.agent.captures.request(COUNTER).catch((thrown: unknown) => thrown)
    // The runtime counts half a MiB more, and an archive holds 2 MiB beside memory and files.
    expect(error).toMatchObject({ extra: { needBytes: factor * 130.5 * MIB } })
  })

  it('is shared with the captures under way: what they may still need is theirs', async () => {
    await using test = await startTestAgent({ capture: { concurrency: 2, sizeFactor: 1 } })
    const pod = test.runtime.addPod(TRIO)
    test.runtime.faults.always(slow(2_500))
    // Each is taken to need a little more than half of what is free. Nothing of that is ever written.
    for (const container of pod.containers) container.writableLayerBytes = Math.floor(freeBytes(test) * 0.55)
    const requests = await Promise.all([
      test.agent.captures.request(ofTrio('a')),
      test.agent.captures.request(ofTrio('b')),
    ])
    const jobs = await Promise.all(requests.map(({ id }) => test.agent.captures.wait(id, {})))
    const outcomes = jobs.map(({ captures: [only] }) => String(only?.failure?.code ?? only?.state))
    expect(outcomes.toSorted()).toEqual(['DiskFloor', 'succeeded'])
    // What the first had reserved is free again.
    expect(jobState(await capture(test, ofTrio('c')))).toBe('succeeded')
  })
})

function expectOrder(test: TestAgent, archives: number, concurrency: number): void {
  expect(test.runtime.calls.overlaps).toBe(0)
  expect(test.runtime.calls.mostDumpsAtOnce).toBeLessThanOrEqual(concurrency)
  expect(allDumps(test)).toHaveLength(archives)
  expect(test.archives()).toHaveLength(archives)
  expect(test.leftovers()).toEqual([])
  expect(test.agent.captures.counts).toMatchObject({ running: 0, queued: 0 })
}

describe('many requests at once', () => {
  const PODS = 20
  const wishes = (requests: number) =>
    Array.from({ length: requests }, (_, at) => ({
      namespace: 'shop',
      pod: `web-${at % PODS}`,
      container: 'counter',
      requestedBy: 'test',
    }))

  async function startCrowd(concurrency: number, queueLimit: number): Promise<TestAgent> {
    const test = await startTestAgent({ capture: { concurrency, queueLimit } })
    for (let at = 0; at < PODS; at += 1) {
      test.runtime.addPod({
        namespace: 'shop',
        name: `web-${at}`,
        containers: [{ name: 'counter', memoryBytes: 4096 }],
      })
    }
    test.runtime.faults.always(slow(2))
    return test
  }

  it('200 for 20 containers: each is taken, or told which capture is in its way or that too many wait', async () => {
    await using test = await startCrowd(4, 10)
    const callsBefore = test.runtime.calls.calls.length
    const outcomes = await Promise.all(
      wishes(200).map((wish) =>
        test.agent.captures.request(wish).then(
          ({ id }) => id,
          (error: unknown) => error,
        ),
      ),
    )
    // Each call has its deadline from the moment it is made: hundreds at once are late on a busy machine.
    const calls = test.runtime.calls.calls.slice(callsBefore).map(({ method }) => method)
    expect(calls.length).toBeLessThan(300)
    const ids = outcomes.filter((outcome) => typeof outcome === 'string')
    const jobs = await Promise.all(ids.map((id) => test.agent.captures.wait(id, {})))
    expect(jobs.map(jobState)).toEqual(jobs.map(() => 'succeeded'))
    expect(ids.length).toBeGreaterThanOrEqual(14)
    const refusals = outcomes.filter((outcome) => typeof outcome !== 'string')
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ code: expect.stringMatching(/^(CaptureInFlight|QueueFull)$/) })
    }
    expectOrder(test, ids.length, 4)
  })

  it("200 for 20 containers on the kubelet's way: each gets an archive of its own", async () => {
    await using test = await startCrowd(8, 200)
    const { signal } = new AbortController()
    const outcomes = await Promise.all(
      wishes(200).map((wish) => kubeletCheckpoint(test.agent, { ...wish, timeoutMs: 60_000, signal })),
    )
    const paths = outcomes.map((outcome) => ('path' in outcome ? outcome.path : outcome.error))
    expect(new Set(paths).size).toBe(200)
    expect(paths.filter((path) => !existsSync(path))).toEqual([])
    expectOrder(test, 200, 8)
  })
})

describe.concurrent('the list of captures', () => {
  it('has the newest first, page by page, and what is under way as it is now', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.always(slow(1))
    const jobs: CaptureJob[] = []
    for (let at = 0; at < 3; at += 1) jobs.push(await capture(test, COUNTER))
    test.runtime.faults.always(slow(1_500))
    const running = await test.agent.captures.request(COUNTER)
    await until(() => jobState(test.agent.captures.get(running.id)) === 'running')
    const page = test.agent.captures.list({ limit: 2 })
    expect(page.jobs.map((job) => [job.id, jobState(job)])).toEqual([
      [running.id, 'running'],
      [jobs[2]?.id, 'succeeded'],
    ])
    expect(page.remaining).toBe(2)
    const last = test.agent.captures.list({ limit: 2, before: page.jobs[1]?.id ?? '' })
    expect(last.jobs.map(({ id }) => id)).toEqual([jobs[1]?.id, jobs[0]?.id])
    await test.agent.captures.wait(running.id, {})
  })
})

describe.concurrent('a stop of the agent', () => {
  it('cancels what waits, lets end what runs, and lets nothing begin', async () => {
    await using test = await startTestAgent()
    test.runtime.addPod(TRIO)
    test.runtime.faults.always(slow(1_000))
    const running = await test.agent.captures.request(ofTrio('a'))
    const waiting = await test.agent.captures.request(ofTrio('b'))
    const stopped = test.agent.captures.shutDown(30_000)
    expect(test.agent.captures.get(waiting.id).captures).toMatchObject([
      { state: 'cancelled', failure: { code: 'ShuttingDown' } },
    ])
    await expect(test.agent.captures.request(ofTrio('c'))).rejects.toMatchObject({ code: 'ShuttingDown' })
    await stopped
    expect(jobState(test.agent.captures.get(running.id))).toBe('succeeded')
    expect(test.archives()).toHaveLength(1)
    expect(readdirSync(test.folder.checkpoints)).toContain('.checkpoint-agent')
  })
})
