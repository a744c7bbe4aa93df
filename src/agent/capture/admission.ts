import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import { ConflictError, OutOfSpaceError } from '../../shared/errors.ts'
import type { ContainerRuntime } from '../../runtime/container-runtime.ts'
import type { FreezeControl } from '../../runtime/freeze-control.ts'
import { assertRoom, readDiskSpace, sizeFactor, type DiskFloor } from '../directory/disk-space.ts'
import type { NodeContainers } from '../containers/node-containers.ts'
import type { Staging } from '../directory/staging.ts'
import { assertNotPaused } from './freeze-look.ts'

export interface AdmissionTools {
  readonly runtime: Pick<ContainerRuntime, 'listUsage'>
  readonly containers: NodeContainers
  readonly freezeControl: FreezeControl
  readonly staging: Staging
  readonly checkpointsDirectory: string
  readonly diskFloor: DiskFloor
  readonly runtimeName: () => string | undefined
  /** Overrides the size factor of the runtime. */
  readonly sizeFactor: number | undefined
  /** Bytes that captures under way may still need. All captures share the disk, so the set is shared too. */
  readonly reservations: Set<Reservation>
  /** Resolves once the archives that may be removed for a capture have been removed. */
  readonly makeRoom?: (wantedBytes: number) => Promise<void>
  /** Returns the reason why retention would remove an archive of this size immediately. */
  readonly rejectionReason?: (identity: ContainerIdentity, archiveBytes: number) => string | undefined
}

export interface WantedCapture {
  readonly identity: ContainerIdentity
  readonly pin: boolean
}

/** Result of the checks of a container that may be captured. */
export interface Admission {
  /** Disk space that the capture may need while it runs. */
  readonly diskBytes: number
  /** A pause that lasts longer than this was not caused by the dump. */
  readonly dumpMayTakeMs: number
  /**
   * False if the container was seen to run, so that a later pause belongs to the capture. Undefined if its state could
   * not be seen.
   */
  readonly wasPaused: false | undefined
  /** Time of the checks on the clock of `performance.now()`. */
  readonly at: number
}

/** A rate that is slow for a dump even on a busy disk. */
const SLOW_BYTES_PER_SECOND = 40 * 1024 * 1024
const SHORTEST_DUMP_MS = 5_000
/** Size of an archive's content other than memory and files. */
const ARCHIVE_OVERHEAD_BYTES = 2 * 1024 * 1024
/** Older results are checked again before the container is touched. */
const HOLDS_MS = 500

/** Disk space that a capture under way may still need. */
export interface Reservation {
  bytes: number
}

/** Makes every check that can refuse the capture of a running container, before the container is touched. */
export async function admit(wanted: WantedCapture, tools: AdmissionTools): Promise<Admission> {
  const { runtime, staging, freezeControl } = tools
  const { containerId } = wanted.identity
  staging.prepare()
  const at = performance.now()
  const [usage, wasPaused] = await Promise.all([
    // Missing figures are no reason to refuse. The disk floor still applies.
    runtime.listUsage(containerId).catch(() => undefined),
    assertNotPaused(containerId, freezeControl),
  ])
  const { memoryBytes = 0, writableLayerBytes = 0 } = usage?.get(containerId) ?? {}
  const archiveBytes = memoryBytes + writableLayerBytes + ARCHIVE_OVERHEAD_BYTES
  assertMayStay(wanted, archiveBytes, tools)
  const diskBytes = Math.ceil(archiveBytes * (tools.sizeFactor ?? sizeFactor(tools.runtimeName())))
  await assertRoomFor(diskBytes, tools)
  const dumpMayTakeMs = SHORTEST_DUMP_MS + Math.ceil((archiveBytes / SLOW_BYTES_PER_SECOND) * 1000)
  return { diskBytes, dumpMayTakeMs, wasPaused, at }
}

/** Repeats outdated checks when the turn of a queued capture comes, and reserves the disk space that it may need. */
export async function admitInTurn(
  wanted: WantedCapture,
  { earlier, reservation }: { readonly earlier: Admission | undefined; readonly reservation: Reservation },
  tools: AdmissionTools,
): Promise<Admission> {
  const isFresh = earlier !== undefined && performance.now() - earlier.at < HOLDS_MS
  const admission = isFresh ? earlier : await recheck(wanted, tools)
  // Checks again because other captures may have begun, and reserves at once so that two captures that begin together
  // see each other.
  await assertRoomFor(admission.diskBytes, tools, reservation)
  return admission
}

/** Refuses a capture whose archive the next sweep would remove: freezing the container would be of no use. */
function assertMayStay({ identity, pin }: WantedCapture, archiveBytes: number, tools: AdmissionTools): void {
  const reason = pin ? undefined : tools.rejectionReason?.(identity, archiveBytes)
  if (reason === undefined) return
  throw new OutOfSpaceError(`Cannot take the checkpoint: ${reason}`, {
    code: 'RetentionLimit',
    hint: 'Ask for it with "pin", or raise the limit of the retention rule.',
  })
}

/** Prunes old archives before it refuses a capture for lack of disk space. */
async function assertRoomFor(diskBytes: number, tools: AdmissionTools, reservation?: Reservation): Promise<void> {
  try {
    await reserve(diskBytes, tools, reservation)
  } catch (error) {
    if (!(error instanceof OutOfSpaceError) || tools.makeRoom === undefined) throw error
    await tools.makeRoom(diskBytes + reservedBytes(tools))
    await reserve(diskBytes, tools, reservation)
  }
}

/** Checks and reserves disk space. No other code runs between the check and the reservation. */
async function reserve(diskBytes: number, tools: AdmissionTools, reservation?: Reservation): Promise<void> {
  const disk = await readDiskSpace(tools.checkpointsDirectory)
  assertRoom(diskBytes + reservedBytes(tools), tools.diskFloor, disk)
  if (reservation !== undefined) reservation.bytes = diskBytes
}

function reservedBytes({ reservations }: AdmissionTools): number {
  return [...reservations].reduce((sum, { bytes }) => sum + bytes, 0)
}

async function recheck(wanted: WantedCapture, tools: AdmissionTools): Promise<Admission> {
  if (!(await tools.containers.read()).isRunning(wanted.identity.containerId)) {
    throw new ConflictError('Cannot checkpoint the container: it is not running any more', {
      code: 'ContainerNotRunning',
      hint: 'Look at the pod again; a restarted container is another one.',
    })
  }
  return await admit(wanted, tools)
}
