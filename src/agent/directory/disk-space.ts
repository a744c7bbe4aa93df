import { statfs } from 'node:fs/promises'
import { OutOfSpaceError } from '../../shared/errors.ts'
import { formatSize } from '../../shared/quantity.ts'

export interface DiskSpace {
  readonly totalBytes: number
  readonly freeBytes: number
}

/** Space that must stay free. The larger of the two values applies. */
export interface DiskFloor {
  readonly fraction: number
  readonly minFreeBytes: number
}

/**
 * Reads the size of the file system. Free space is the space available without root, which leaves out the file system's
 * reserve.
 */
export async function readDiskSpace(directory: string): Promise<DiskSpace> {
  const { blocks, bavail, bsize } = await statfs(directory)
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize }
}

export function floorBytes(floor: DiskFloor, { totalBytes }: DiskSpace): number {
  return Math.max(Math.ceil(floor.fraction * totalBytes), floor.minFreeBytes)
}

/**
 * Returns the peak disk use of a dump as a multiple of its size. Besides the archive, containerd holds images, content
 * blobs and an unpacked copy, and CRI-O holds images. Part of this may be on another disk under the runtime's root. The
 * factor is then an overestimate.
 */
export function sizeFactor(runtimeName: string | undefined): number {
  return runtimeName === 'cri-o' ? 2 : 4
}

/** Throws OutOfSpaceError if a capture that needs this many bytes would leave less than the floor. */
export function assertRoom(needBytes: number, floor: DiskFloor, disk: DiskSpace): void {
  const keepBytes = floorBytes(floor, disk)
  if (disk.freeBytes - needBytes >= keepBytes) return
  throw new OutOfSpaceError(
    `Cannot take the checkpoint: it may need ${formatSize(needBytes)}, and of the ${formatSize(disk.freeBytes)} free ${formatSize(keepBytes)} must stay free`,
    {
      code: 'DiskFloor',
      hint: 'Remove old archives or enlarge the disk; capture.diskFloor sets how much stays free.',
      extra: { needBytes, freeBytes: disk.freeBytes, floorBytes: keepBytes },
    },
  )
}
