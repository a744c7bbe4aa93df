import { ConflictError } from '../../shared/errors.ts'
import type { ContainerRuntime } from '../../runtime/container-runtime.ts'
import type { FreezeControl } from '../../runtime/freeze-control.ts'
import { assertRoom, readDiskSpace, sizeFactor, type DiskFloor } from '../disk-space.ts'
import type { NodeContainers } from '../node-containers.ts'
import type { Staging } from '../staging.ts'

export interface AdmissionTools {
  readonly runtime: ContainerRuntime
  readonly containers: NodeContainers
  readonly freezeControl: FreezeControl
  readonly staging: Staging
  readonly checkpointsDirectory: string
  readonly diskFloor: DiskFloor
  readonly runtimeName: () => string | undefined
  /** Overrides the factor by engine. */
  readonly sizeFactor: number | undefined
  /** Bytes that captures under way may still need; kept here, as they share the disk. */
  readonly reservations: Set<{ readonly bytes: number }>
}

/** What was found out about a container that may be captured. */
export interface Admission {
  /** How much of the disk the capture may take up while it runs. */
  readonly diskBytes: number
  /** A pause that lasts longer than this is not the dump's. */
  readonly dumpMayTakeMs: number
  /** Paused before we came: then it is not ours to resume. */
  readonly wasPaused: boolean
  /** When it was found out, on the clock of `performance.now()`. */
  readonly at: number
}

/** A dump of so many bytes a second is slow even for a busy disk. */
const SLOW_BYTES_PER_SECOND = 40 * 1024 * 1024
const SHORTEST_DUMP_MS = 5_000
/** What an archive holds beside memory and files. */
const ARCHIVE_OVERHEAD_BYTES = 2 * 1024 * 1024
/** Older findings are looked up again before the container is touched. */
const HOLDS_MS = 500

/** Everything that can refuse the capture of a running container, before it is touched. */
export async function admit(containerId: string, tools: AdmissionTools): Promise<Admission> {
  const { runtime, staging, checkpointsDirectory, freezeControl } = tools
  staging.prepare()
  const at = performance.now()
  const [usage, disk, freeze] = await Promise.all([
    // A runtime without figures is no reason to refuse: the floor alone still holds.
    runtime.listUsage(containerId).catch(() => undefined),
    readDiskSpace(checkpointsDirectory),
    freezeControl.look(containerId).catch(() => 'unknown' as const),
  ])
  const { memoryBytes = 0, writableLayerBytes = 0 } = usage?.get(containerId) ?? {}
  const archiveBytes = memoryBytes + writableLayerBytes + ARCHIVE_OVERHEAD_BYTES
  const diskBytes = Math.ceil(archiveBytes * (tools.sizeFactor ?? sizeFactor(tools.runtimeName())))
  const reserved = [...tools.reservations].reduce((sum, { bytes }) => sum + bytes, 0)
  assertRoom(diskBytes + reserved, tools.diskFloor, disk)
  const dumpMayTakeMs = SHORTEST_DUMP_MS + Math.ceil((archiveBytes / SLOW_BYTES_PER_SECOND) * 1000)
  return { diskBytes, dumpMayTakeMs, wasPaused: freeze === 'frozen', at }
}

/** When its turn comes: a capture that had to wait finds another world. */
export async function admitInTurn(
  containerId: string,
  earlier: Admission | undefined,
  tools: AdmissionTools,
): Promise<Admission> {
  if (earlier !== undefined && performance.now() - earlier.at < HOLDS_MS) return earlier
  if (!(await tools.containers.read()).isRunning(containerId)) {
    throw new ConflictError('Cannot checkpoint the container: it is not running any more', {
      code: 'ContainerNotRunning',
      hint: 'Look at the pod again; a restarted container is another one.',
    })
  }
  return await admit(containerId, tools)
}
