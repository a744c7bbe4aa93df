import { findFreezer, type CgroupFreezer } from './cgroup-freezer.ts'
import type { ContainerRuntime, TaskState } from './container-runtime.ts'
import { isNotPaused } from './cri-client.ts'

/** `unknown`: nobody can tell now; that is never `running`. `gone`: the container runs no more. */
export type FreezeState = 'running' | 'frozen' | 'gone' | 'unknown'

/** Sees whether a container is frozen, which CRI hides, and brings it back. */
export interface FreezeControl {
  look(containerId: string): Promise<FreezeState>
  /** Whether nothing on this node could ever tell: there is no task API, and no cgroup of the container to be seen. */
  isBlind(containerId: string): Promise<boolean>
  /** Throws when it could not. Harmless for a container that runs. */
  resume(containerId: string): Promise<void>
}

export interface FreezeControlOptions {
  readonly runtime: ContainerRuntime
  readonly cgroupRoot: string
}

/** While CRIU works containerd may not get an answer from the shim, and says "unknown". */
function fromTask(task: TaskState): FreezeState {
  if (task === 'paused' || task === 'pausing') return 'frozen'
  return task === 'running' ? 'running' : 'unknown'
}

/**
 * The runtime's own resume comes first: containerd's task API, CRI-O's `/unpause`. A raw thaw would let the processes
 * run while the runtime goes on thinking the container paused, and every exec or checkpoint would fail. What was thawed
 * like that is frozen again and resumed properly. The raw freezer is the last resort.
 */
export function createFreezeControl({ runtime, cgroupRoot }: FreezeControlOptions): FreezeControl {
  return { look, isBlind, resume }

  async function look(containerId: string): Promise<FreezeState> {
    const task = await runtime.taskState(containerId)
    if (task === 'stopped') return 'gone'
    if (task !== undefined) return fromTask(task)
    const container = await runtime.findContainer(containerId)
    if (container?.state !== 'running') return 'gone'
    const freezer = openFreezer(container.cgroupsPath)
    if (freezer === undefined) return 'unknown'
    return (await freezer.isFrozen()) ? 'frozen' : 'running'
  }

  async function isBlind(containerId: string): Promise<boolean> {
    if ((await runtime.taskState(containerId)) !== undefined) return false
    const container = await runtime.findContainer(containerId)
    return container?.state === 'running' && openFreezer(container.cgroupsPath) === undefined
  }

  async function resume(containerId: string): Promise<void> {
    const task = await runtime.taskState(containerId)
    if (task === undefined) return unpause(containerId)
    try {
      await runtime.resumeTask(containerId)
    } catch (error) {
      if (!isNotPaused(error)) throw error
      if ((await runtime.taskState(containerId)) !== 'paused') return
      await whileFrozen(containerId, error, () => runtime.resumeTask(containerId))
    }
  }

  async function unpause(containerId: string): Promise<void> {
    const answer = await runtime.unpause(containerId)
    if (answer === 'resumed') return
    if (answer === 'thawed') return unpauseThawed(containerId)
    // Frozen, and the runtime knows of no pause: it was not the runtime that froze it.
    await thaw(containerId)
  }

  async function unpauseThawed(containerId: string): Promise<void> {
    const refusal = new Error(`Cannot resume container "${containerId}": somebody thawed it behind the runtime's back`)
    await whileFrozen(containerId, refusal, async () => {
      if ((await runtime.unpause(containerId)) !== 'resumed') throw refusal
    })
  }

  /** Somebody wrote THAWED behind the runtime's back: only a container that is frozen again can be resumed. */
  async function whileFrozen(containerId: string, refusal: unknown, work: () => Promise<void>): Promise<void> {
    const container = await runtime.findContainer(containerId)
    const freezer = openFreezer(container?.cgroupsPath)
    if (freezer === undefined) throw refusal
    await freezer.freeze()
    try {
      await work()
    } catch (error) {
      await freezer.thaw()
      throw error
    }
  }

  async function thaw(containerId: string): Promise<void> {
    const container = await runtime.findContainer(containerId)
    const freezer = openFreezer(container?.cgroupsPath)
    if (freezer === undefined)
      throw new Error(`Cannot thaw container "${containerId}": its cgroup cannot be seen under "${cgroupRoot}"`)
    await freezer.thaw()
  }

  function openFreezer(cgroupsPath: string | undefined): CgroupFreezer | undefined {
    return cgroupsPath === undefined ? undefined : findFreezer(cgroupRoot, cgroupsPath)
  }
}
