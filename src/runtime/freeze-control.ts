import { findFreezer, type CgroupFreezer } from './cgroup-freezer.ts'
import type { ContainerRuntime, TaskState } from './container-runtime.ts'
import { isNotPaused } from './cri-client.ts'

/** `unknown`: neither the task API nor a cgroup tree could be asked. `gone`: the container runs no more. */
export type FreezeState = 'running' | 'frozen' | 'gone' | 'unknown'

/** Sees whether a container is frozen, which CRI hides, and brings it back. */
export interface FreezeControl {
  look(containerId: string): Promise<FreezeState>
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
 * On containerd the task API is asked and used: a raw thaw would let the processes run while the shim goes on believing
 * the task paused, and every exec would fail for ever. A runtime without that API has the cgroup freezer.
 */
export function createFreezeControl({ runtime, cgroupRoot }: FreezeControlOptions): FreezeControl {
  return { look, resume }

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

  async function resume(containerId: string): Promise<void> {
    const task = await runtime.taskState(containerId)
    if (task === undefined) return thaw(containerId)
    try {
      await runtime.resumeTask(containerId)
    } catch (error) {
      if (!isNotPaused(error)) throw error
      if ((await runtime.taskState(containerId)) !== 'paused') return
      await resumeThawed(containerId, error)
    }
  }

  /** Somebody wrote THAWED beneath the shim: only a task that is frozen again can be resumed. */
  async function resumeThawed(containerId: string, refusal: unknown): Promise<void> {
    const container = await runtime.findContainer(containerId)
    const freezer = openFreezer(container?.cgroupsPath)
    if (freezer === undefined) throw refusal
    await freezer.freeze()
    try {
      await runtime.resumeTask(containerId)
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
