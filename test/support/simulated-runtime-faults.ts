import { status as Code } from '@grpc/grpc-js'
import type { Personality, RuntimeFailure } from './simulated-personality.ts'

/** How one checkpoint goes. What is left out goes well, and quickly. */
export interface CheckpointScript {
  /** How long the pausing itself takes. On containerd, a caller who leaves meanwhile leaves the container paused for good. */
  readonly pauseMs?: number
  /** The part in which the container is paused (on CRI-O the export is, too). */
  readonly dumpMs?: number
  /** CRI-O: how much longer CRIU holds the processes by ptrace while their freezer says THAWED. */
  readonly tracedMs?: number
  /** How fast the file grows. */
  readonly exportBytesPerSecond?: number
  /** Between the complete file and the answer. */
  readonly cleanupMs?: number
  /** Never answers. An abandoned dump of this kind is over after `windDownMs`. */
  readonly hangs?: boolean
  readonly windDownMs?: number
  readonly failure?: (about: FailureContext) => RuntimeFailure
  /** `start`: before anything is paused; `export`: when the file is as far as `file` says. */
  readonly failsAt?: 'start' | 'dump' | 'export'
  readonly file?: 'whole' | 'none' | 'half' | 'without-end' | 'stale-tail'
  /** Ends the caller's connection there; the runtime sees a cancelled call. */
  readonly dropsConnectionIn?: 'dump' | 'export'
  /** The container stays paused though the call succeeds. */
  readonly leavesFrozen?: boolean
  /** containerd: how long after a passed deadline the freeze comes back. Else when the dump would have ended. */
  readonly freezesAfterMs?: number
  /** containerd stops writing when the caller cancels in the middle of the file; with this it finishes it. */
  readonly finishesFileAfterCancel?: boolean
}

export interface FailureContext {
  readonly personality: Personality
  readonly containerId: string
  readonly location: string
}

/** Ready-made scripts, to be given to `nextCheckpoint` or merged: `{ ...slow(500), ...leavesFrozen }`. */
export const slow = (dumpMs: number): CheckpointScript => ({ dumpMs })

export const fails = (code: Code, details: string): CheckpointScript => ({
  failsAt: 'dump',
  failure: () => ({ code, details }),
})

/** The file is as long as the disk had room for. */
export const diskFull: CheckpointScript = {
  file: 'half',
  failsAt: 'export',
  failure: ({ personality, containerId, location }) =>
    personality.exportFailed(containerId, `write ${location}: no space left on device`),
}

export const halfFileThenError: CheckpointScript = {
  file: 'half',
  failsAt: 'export',
  failure: () => ({ code: Code.UNKNOWN, details: 'failed to read checkpoint blob: unexpected EOF' }),
}

export const establishedTcp: CheckpointScript = {
  failsAt: 'dump',
  failure: ({ personality, containerId }) =>
    personality.dumpFailed(
      containerId,
      'criu failed: type NOTIFY errno 0\\nError (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.',
    ),
}

export const criuFails: CheckpointScript = {
  failsAt: 'dump',
  failure: ({ personality, containerId }) => personality.dumpFailed(containerId, 'criu failed: type NOTIFY errno 0'),
}

/** crun without libcriu2: the commonest mistake on CRI-O nodes. */
export const libcriuMissing: CheckpointScript = {
  failsAt: 'dump',
  failure: ({ personality, containerId }) =>
    personality.dumpFailed(
      containerId,
      'could not load `libcriu.so.2`: libcriu.so.2: cannot open shared object file: No such file or directory',
    ),
}

export const crunCannotDump: CheckpointScript = {
  failsAt: 'dump',
  failure: ({ personality, containerId }) =>
    personality.dumpFailed(
      containerId,
      `CRIU checkpointing failed: -52: Invalid exchange. Please check CRIU logfile /var/lib/containers/storage/overlay-containers/${containerId}/userdata/dump.log`,
    ),
}

export const hangs: CheckpointScript = { hangs: true }
export const noFile: CheckpointScript = { file: 'none' }
export const fileWithoutEnd: CheckpointScript = { file: 'without-end' }
export const fileWithStaleTail: CheckpointScript = { file: 'stale-tail' }
export const leavesFrozen: CheckpointScript = { leavesFrozen: true }
export const dropsConnection = (phase: 'dump' | 'export'): CheckpointScript => ({ dropsConnectionIn: phase })

/** Which script the next checkpoint of a container follows. */
export class FaultPlan {
  #everyTime: CheckpointScript = {}
  #planned: { readonly script: CheckpointScript; readonly containerId: string | undefined; times: number }[] = []

  /** For every checkpoint; what is planned for the next ones is laid over it. */
  always(script: CheckpointScript): void {
    this.#everyTime = script
  }

  next(script: CheckpointScript, { containerId, times = 1 }: { containerId?: string; times?: number } = {}): void {
    this.#planned.push({ script, containerId, times })
  }

  clear(): void {
    this.#everyTime = {}
    this.#planned = []
  }

  take(containerId: string): CheckpointScript {
    const planned = this.#planned.find((each) => each.containerId === undefined || each.containerId === containerId)
    if (planned === undefined) return this.#everyTime
    planned.times -= 1
    if (planned.times <= 0) this.#planned = this.#planned.filter((each) => each !== planned)
    return { ...this.#everyTime, ...planned.script }
  }
}
