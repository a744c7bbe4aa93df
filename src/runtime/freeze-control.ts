import { findFreezer, type CgroupFreezer } from './cgroup-freezer.ts'
import type { ContainerRuntime, TaskState } from './container-runtime.ts'
import { isNotPaused } from './cri-client.ts'

/**
 * `unknown`: the state cannot be determined now; never treat it as `running`. `gone`: the container
 * is no longer running.
 */
export type FreezeState = 'running' | 'frozen' | 'gone' | 'unknown'

/** Detects whether a container is frozen, which CRI hides, and resumes it. */
export interface FreezeControl {
  look(containerId: string): Promise<FreezeState>
  /**
   * Checks whether this node can never report a freeze: it has no task API and no readable cgroup
   * of the container.
   */
  isBlind(containerId: string): Promise<boolean>
  /** Resumes a container; throws if that fails. Has no effect on a running container. */
  resume(containerId: string): Promise<void>
}

export interface FreezeControlOptions {
  readonly runtime: ContainerRuntime
  readonly cgroupRoot: string
}

/** While CRIU works, containerd may receive no answer from the shim and report "unknown". */
function fromTask(task: TaskState): FreezeState {
  if (task === 'paused' || task === 'pausing') return 'frozen'
  return task === 'running' ? 'running' : 'unknown'
}

/**
 * Creates a control that prefers the runtime's own resume: containerd's task API or CRI-O's
 * `/unpause`. After a direct thaw the runtime would still consider the container paused, and every
 * exec or checkpoint would fail. A container thawed like that is frozen again and then resumed
 * properly. The direct freezer is the last resort.
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
    // The container is frozen, but not by the runtime.
    await thaw(containerId)
  }

  async function unpauseThawed(containerId: string): Promise<void> {
    const refusal = new Error(`Cannot resume container "${containerId}": somebody thawed it behind the runtime's back`)
    await whileFrozen(containerId, refusal, async () => {
      if ((await runtime.unpause(containerId)) !== 'resumed') throw refusal
    })
  }

  /**
   * Freezes a container that was thawed without the runtime's knowledge, because only a frozen one
   * can be resumed.
   */
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
