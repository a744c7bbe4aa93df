import { statfs } from 'node:fs/promises'
import { OutOfSpaceError } from '../../shared/errors.ts'
import { formatSize } from '../../shared/quantity.ts'

export interface DiskSpace {
  readonly totalBytes: number
  readonly freeBytes: number
}

/** What must stay free, whatever is captured: the larger of the two counts. */
export interface DiskFloor {
  readonly fraction: number
  readonly minFreeBytes: number
}

/** What may be used without being root is what counts as free: the rest is the file system's own reserve. */
export async function readDiskSpace(directory: string): Promise<DiskSpace> {
  const { blocks, bavail, bsize } = await statfs(directory)
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize }
}

export function floorBytes(floor: DiskFloor, { totalBytes }: DiskSpace): number {
  return Math.max(Math.ceil(floor.fraction * totalBytes), floor.minFreeBytes)
}

/**
 * Peak of disk use while dumping, in sizes of the dump: containerd keeps images, content blobs and an unpacked copy beside
 * the archive, CRI-O the images. Part of it lies under the runtime's root, which may be another disk: then this is careful.
 */
export function sizeFactor(runtimeName: string | undefined): number {
  return runtimeName === 'cri-o' ? 2 : 4
}

/** Throws an OutOfSpaceError when a capture that needs so much would leave less than the floor. */
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
