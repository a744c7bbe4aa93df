import { constants, openSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'

/**
 * Flags that neither follow a symbolic link in the last part of the path nor wait for the writer of
 * a FIFO.
 */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Opens a file in a directory that others can write to. Throws ELOOP for a symbolic link. */
export function openNoFollowSync(path: string | Buffer): number {
  return openSync(path, FLAGS)
}

/** Opens a file in a directory that others can write to. Rejects with ELOOP for a symbolic link. */
export async function openNoFollow(path: string | Buffer): Promise<FileHandle> {
  return await open(path, FLAGS)
}
