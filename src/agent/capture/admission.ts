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
  /** Overrides the factor by engine. */
  readonly sizeFactor: number | undefined
  /** Bytes that captures under way may still need; kept here, as they share the disk. */
  readonly reservations: Set<Reservation>
  /** Resolves when what may go for the sake of a capture is gone. */
  readonly makeRoom?: (wantedBytes: number) => Promise<void>
  /** Why retention would remove an archive of this size at once. */
  readonly rejectionReason?: (identity: ContainerIdentity, archiveBytes: number) => string | undefined
}

export interface WantedCapture {
  readonly identity: ContainerIdentity
  readonly pin: boolean
}

/** What was found out about a container that may be captured. */
export interface Admission {
  /** How much of the disk the capture may take up while it runs. */
  readonly diskBytes: number
  /** A pause that lasts longer than this is not the dump's. */
  readonly dumpMayTakeMs: number
  /** False when it was seen to run: a pause that comes then is the capture's. Undefined where nobody could see. */
  readonly wasPaused: false | undefined
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

/** Disk that a capture under way may still need. */
export interface Reservation {
  bytes: number
}

/** Everything that can refuse the capture of a running container, before it is touched. */
export async function admit(wanted: WantedCapture, tools: AdmissionTools): Promise<Admission> {
  const { runtime, staging, freezeControl } = tools
  const { containerId } = wanted.identity
  staging.prepare()
  const at = performance.now()
  const [usage, wasPaused] = await Promise.all([
    // A runtime without figures is no reason to refuse: the floor alone still holds.
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

/** When its turn comes: a capture that had to wait finds another world. What it may need of the disk is then its own. */
export async function admitInTurn(
  wanted: WantedCapture,
  { earlier, reservation }: { readonly earlier: Admission | undefined; readonly reservation: Reservation },
  tools: AdmissionTools,
): Promise<Admission> {
  const isFresh = earlier !== undefined && performance.now() - earlier.at < HOLDS_MS
  const admission = isFresh ? earlier : await recheck(wanted, tools)
  // Once more, as others may have begun since; it is reserved at once, so that two that begin together see each other.
  await assertRoomFor(admission.diskBytes, tools, reservation)
  return admission
}

/** To freeze a container for an archive that the next sweep takes away again helps nobody. */
function assertMayStay({ identity, pin }: WantedCapture, archiveBytes: number, tools: AdmissionTools): void {
  const reason = pin ? undefined : tools.rejectionReason?.(identity, archiveBytes)
  if (reason === undefined) return
  throw new OutOfSpaceError(`Cannot take the checkpoint: ${reason}`, {
    code: 'RetentionLimit',
    hint: 'Ask for it with "pin", or raise the limit of the retention rule.',
  })
}

/** Before a capture is refused for want of room, old archives may go. */
async function assertRoomFor(diskBytes: number, tools: AdmissionTools, reservation?: Reservation): Promise<void> {
  try {
    await reserve(diskBytes, tools, reservation)
  } catch (error) {
    if (!(error instanceof OutOfSpaceError) || tools.makeRoom === undefined) throw error
    await tools.makeRoom(diskBytes + reservedBytes(tools))
    await reserve(diskBytes, tools, reservation)
  }
}

/** Nothing else runs between the look at the disk and the reservation. */
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
