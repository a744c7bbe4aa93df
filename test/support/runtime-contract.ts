import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ContainerRuntime } from '../../src/runtime/container-runtime.ts'
import { archiveProblem } from './archive-check.ts'

/** A runtime at work, with what the suite needs to know of its node. */
export interface ContractSubject {
  readonly runtime: ContainerRuntime
  readonly socketPath: string
  readonly containers: {
    /** Its checkpoint takes 80 to 300 ms, so that a call can be cancelled in the middle. */
    readonly running: string
    readonly exited: string
    /** Well formed, and of no container. */
    readonly missingId: string
  }
  /** A folder that both sides see under this path; the archives go there. */
  readonly stagingDir: string
  /** Pauses the container through the runtime, as `ctr tasks pause` and CRI-O's `/pause` do. */
  readonly pause?: (containerId: string) => Promise<void>
  /** An exec in the container succeeds: it is neither frozen nor thought to be. */
  readonly works: (containerId: string) => Promise<boolean>
  /** Ends the runtime as a kill does; its containers live on. */
  readonly down: () => Promise<void>
  /** Ends it where it is up, and starts it again with a new socket file at the same path. */
  readonly restart: () => Promise<void>
  readonly stop: () => Promise<void>
}

export interface RuntimeContract {
  /** What stands in the title. */
  readonly name: string
  readonly expects: {
    readonly runtimeName: 'containerd' | 'cri-o'
    readonly version: RegExp
    readonly canCheckpoint: boolean
    readonly hasTaskApi: boolean
  }
  readonly start: () => Promise<ContractSubject>
}

type Current = () => ContractSubject

const START_TIMEOUT_MS = 600_000
const RECOVERY_MS = 30_000
// Longer than a dump of the running container: one that was begun unseen has left its file by then.
const UNSEEN_DUMP_MS = 300

/** What every runtime has to do for the agent, real or simulated. */
export function describeRuntimeContract({ name, expects, start }: RuntimeContract): void {
  describe(`the container runtime contract: ${name}`, () => {
    let subject: ContractSubject | undefined
    const current = () => {
      if (subject === undefined) throw new Error(`Cannot test "${name}": it did not start`)
      return subject
    }

    beforeAll(async () => {
      subject = await start()
    }, START_TIMEOUT_MS)

    afterAll(async () => {
      await subject?.stop()
    }, START_TIMEOUT_MS)

    it('names itself', async () => {
      const { name: runtimeName, version } = await current().runtime.version()
      expect(runtimeName).toBe(expects.runtimeName)
      expect(version).toMatch(expects.version)
    })

    const taskSuite = expects.hasTaskApi ? describeTaskApi : describeNoTaskApi
    const checkpointSuite = expects.canCheckpoint ? describeCheckpoints : describeNoCheckpoints
    describeLooking(current)
    taskSuite(current)
    checkpointSuite(current)
    // Last: they take the runtime down.
    describeRestart(current)
  })
}

function describeLooking(current: Current): void {
  it('is ready', async () => {
    expect(await current().runtime.notReadyReason()).toBeUndefined()
  })

  it('lists its containers in every state, each in a listed sandbox', async () => {
    const { runtime, containers: known } = current()
    const [containers, sandboxes] = await Promise.all([runtime.listContainers(), runtime.listSandboxes()])
    const stateOf = (id: string) => containers.find((container) => container.id === id)?.state
    expect(stateOf(known.running)).toBe('running')
    expect(stateOf(known.exited)).toBe('exited')
    const running = containers.find(({ id }) => id === known.running)
    expect(running).toMatchObject({ name: expect.stringMatching(/./), image: expect.stringMatching(/./) })
    expect(isRecent(running?.createdAt)).toBe(true)
    const sandbox = sandboxes.find(({ id }) => id === running?.sandboxId)
    const text = expect.stringMatching(/./) as string
    expect(sandbox).toMatchObject({ isReady: true, namespace: text, pod: text, podUid: text })
    expect(isRecent(sandbox?.createdAt)).toBe(true)
  })

  it('tells the state, start and cgroup of one container', async () => {
    const { runtime, containers } = current()
    const running = await runtime.findContainer(containers.running)
    expect(running?.state).toBe('running')
    expect(isRecent(running?.startedAt)).toBe(true)
    expect(running?.cgroupsPath).toContain(containers.running)
    expect(await runtime.findContainer(containers.exited)).toMatchObject({ state: 'exited' })
  })

  it('finds nothing under an unknown id', async () => {
    expect(await current().runtime.findContainer(current().containers.missingId)).toBeUndefined()
  })

  it('knows how much memory a running container uses', async () => {
    const { runtime, containers } = current()
    const memoryBytes = async () => (await runtime.listUsage()).get(containers.running)?.memoryBytes
    await expect.poll(memoryBytes, { timeout: RECOVERY_MS }).toBeGreaterThan(0)
  })

  it('answers many calls at once', async () => {
    const { runtime, containers } = current()
    const lookAround = async () => [
      await runtime.version(),
      await runtime.findContainer(containers.running),
      (await runtime.listContainers()).map(({ id }) => id).toSorted(),
    ]
    const answers = await Promise.all(Array.from({ length: 20 }, lookAround))
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1)
  })
}

function describeTaskApi(current: Current): void {
  it('tells what a task does', async () => {
    const { runtime, containers } = current()
    expect(await runtime.taskState(containers.running)).toBe('running')
    expect(runtime.heedsCancel).toBe(true)
    expect(await runtime.taskState(containers.exited)).toBe('stopped')
    expect(await runtime.taskState(containers.missingId)).toBe('stopped')
  })

  it('refuses to resume a running container, and does it no harm', async () => {
    const { runtime, containers, works } = current()
    await expect(runtime.resumeTask(containers.running)).rejects.toMatchObject({
      runtimeMessage: expect.stringContaining('cannot resume a running process'),
    })
    expect(await works(containers.running)).toBe(true)
  })
}

function describeNoTaskApi(current: Current): void {
  it('has no task API, and says so', async () => {
    const { runtime, containers } = current()
    expect(await runtime.taskState(containers.running)).toBeUndefined()
    expect(runtime.heedsCancel).toBe(false)
    await expect(runtime.resumeTask(containers.running)).rejects.toThrow(/./)
  })

  it('unpauses over HTTP on the same socket, and does a running container no harm', async () => {
    const { runtime, containers, works } = current()
    expect(await runtime.unpause(containers.running)).toBe('running')
    expect(await runtime.unpause(containers.missingId)).toBe('unsupported')
    expect(await works(containers.running)).toBe(true)
  })

  it('unpauses a paused container, of which it refuses a checkpoint', async ({ skip }) => {
    const { runtime, containers, works, pause } = current()
    if (pause === undefined) skip('this subject cannot pause a container')
    await pause?.(containers.running)
    expect(await works(containers.running)).toBe(false)
    expect(await runtime.findContainer(containers.running)).toMatchObject({ state: 'running' })
    const path = newLocation(current)
    await expect(checkpoint(current, containers.running, path)).rejects.toMatchObject({ code: 'ContainerPaused' })
    expect(existsSync(path)).toBe(false)
    expect(await runtime.unpause(containers.running)).toBe('resumed')
    expect(await works(containers.running)).toBe(true)
    await checkpoint(current, containers.running, path)
    expect(archiveProblem(path)).toBeUndefined()
  })
}

function describeCheckpoints(current: Current): void {
  it('writes a whole archive, for root only, and the container goes on', async () => {
    const { runtime, containers, works } = current()
    const path = newLocation(current)
    await checkpoint(current, containers.running, path)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(archiveProblem(path)).toBeUndefined()
    expect(await works(containers.running)).toBe(true)
    expect(await runtime.findContainer(containers.running)).toMatchObject({ state: 'running' })
  })

  it('answers other calls while it dumps, and calls the container running', async () => {
    const { runtime, containers } = current()
    const path = newLocation(current)
    const dump = checkpoint(current, containers.running, path)
    expect(await runtime.findContainer(containers.running)).toMatchObject({ state: 'running' })
    await dump
    expect(archiveProblem(path)).toBeUndefined()
  })

  it('says that an exited container does not run', async () => {
    const path = newLocation(current)
    const dump = checkpoint(current, current().containers.exited, path)
    await expect(dump).rejects.toMatchObject({ code: 'ContainerNotRunning' })
    expect(existsSync(path)).toBe(false)
  })

  it('says that it knows no such container', async () => {
    const path = newLocation(current)
    const dump = checkpoint(current, current().containers.missingId, path)
    await expect(dump).rejects.toMatchObject({ code: 'ContainerNotFound' })
    expect(existsSync(path)).toBe(false)
  })

  it('does not make the folder that it writes to', async () => {
    const { containers, works, stagingDir } = current()
    const dump = checkpoint(current, containers.running, join(stagingDir, 'no-such-folder', 'archive.tar'))
    await expect(dump).rejects.toMatchObject({ code: 'DirectoryMissing' })
    expect(await works(containers.running)).toBe(true)
  })

  // containerd loses the container when the call ends while it is being paused: then only a resume helps.
  it.each([
    { moment: 'at the beginning', afterMs: 10 },
    { moment: 'in the middle', afterMs: 60 },
  ])('lets a call be cancelled $moment, and the container works again, by a resume if need be', async ({ afterMs }) => {
    const { runtime, containers } = current()
    expect(await cancelWhileItRuns(current, afterMs)).toMatchObject({ code: 'CaptureCancelled' })
    await sleep(UNSEEN_DUMP_MS)
    await expect.poll(() => bringBack(current, containers.running), { timeout: RECOVERY_MS }).toBe(true)
    expect([undefined, 'running']).toContain(await runtime.taskState(containers.running))
  })

  it('writes nothing for a signal that is aborted already', async () => {
    const { runtime, containers, works } = current()
    const path = newLocation(current)
    const dump = runtime.checkpoint(containers.running, path, AbortSignal.abort())
    await expect(dump).rejects.toMatchObject({ code: 'CaptureCancelled' })
    await sleep(UNSEEN_DUMP_MS)
    expect(existsSync(path)).toBe(false)
    expect(await works(containers.running)).toBe(true)
  })

  it('takes the next checkpoint after a cancelled one', async () => {
    const path = newLocation(current)
    await checkpoint(current, current().containers.running, path)
    expect(archiveProblem(path)).toBeUndefined()
  })
}

/** A machine may be done before that moment: then an earlier one is tried. */
async function cancelWhileItRuns(current: Current, afterMs: number): Promise<unknown> {
  const { runtime, containers } = current()
  for (let delay = afterMs; delay >= 1; delay /= 2) {
    const controller = new AbortController()
    const dump = runtime.checkpoint(containers.running, newLocation(current), controller.signal)
    const [ending] = await Promise.all([
      dump.then(
        () => undefined,
        (error: unknown) => error,
      ),
      sleep(delay).then(() => controller.abort()),
    ])
    if (ending !== undefined) return ending
  }
  return 'each checkpoint was over before it was cancelled'
}

function describeNoCheckpoints(current: Current): void {
  it('says that it cannot take checkpoints', async () => {
    const { containers, works } = current()
    const path = newLocation(current)
    const dump = checkpoint(current, containers.running, path)
    await expect(dump).rejects.toMatchObject({ code: 'CheckpointNotImplemented' })
    expect(existsSync(path)).toBe(false)
    expect(await works(containers.running)).toBe(true)
  })
}

function describeRestart(current: Current): void {
  it('is found again after a restart, at a new socket file', async () => {
    const { runtime, containers, works, restart, socketPath } = current()
    const before = socketFile(socketPath)
    await restart()
    expect(socketFile(socketPath)).not.toBe(before)
    await expect.poll(() => isAnswering(runtime), { timeout: RECOVERY_MS }).toBe(true)
    expect(await runtime.findContainer(containers.running)).toMatchObject({ state: 'running' })
    expect(await works(containers.running)).toBe(true)
  })

  it('is unavailable while it is down, and back when it is back', async () => {
    const { runtime, containers, down, restart } = current()
    await down()
    await expect(runtime.version()).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
    const path = newLocation(current)
    const dump = checkpoint(current, containers.running, path)
    await expect(dump).rejects.toMatchObject({ code: 'RuntimeUnavailable' })
    expect(existsSync(path)).toBe(false)
    await restart()
    await expect.poll(() => isAnswering(runtime), { timeout: RECOVERY_MS }).toBe(true)
  })
}

async function bringBack(current: Current, containerId: string): Promise<boolean> {
  const { runtime, works } = current()
  if (await works(containerId)) return true
  // While runc dumps, the task API may answer late, or that it does not know.
  const task = await runtime.taskState(containerId).catch(() => 'unknown' as const)
  if (task === 'paused') await runtime.resumeTask(containerId).catch(() => undefined)
  return await works(containerId)
}

let locations = 0

function newLocation(current: Current): string {
  return join(current().stagingDir, `contract-${++locations}.tar`)
}

async function checkpoint(current: Current, containerId: string, location: string): Promise<void> {
  await current().runtime.checkpoint(containerId, location, new AbortController().signal)
}

/** Of this century's clock, not of the epoch or of a unit mistaken. */
function isRecent(time: Date | undefined): boolean {
  const ageMs = Date.now() - (time?.getTime() ?? 0)
  return ageMs > -1000 && ageMs < 24 * 3_600_000
}

function socketFile(path: string): string {
  const { ino, ctimeNs } = statSync(path, { bigint: true })
  return `${ino}:${ctimeNs}`
}

async function isAnswering(runtime: ContainerRuntime): Promise<boolean> {
  try {
    await runtime.version()
    return true
  } catch {
    return false
  }
}
