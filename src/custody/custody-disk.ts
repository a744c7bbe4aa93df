import { constants } from 'node:fs'
import { chmod, mkdir, open, readdir, readFile, rename, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isSystemError } from '../shared/errors.ts'

/** All disk operations of the log, one by one, so that a test can fail between any two. */
export interface CustodyDisk {
  readonly makeFolder: (path: string) => Promise<void>
  readonly list: (folder: string) => Promise<readonly string[]>
  /** Returns undefined if the path does not exist. */
  readonly look: (path: string) => Promise<{ readonly inode: number; readonly sizeBytes: number } | undefined>
  readonly read: (path: string) => Promise<Buffer>
  readonly create: (path: string) => Promise<CustodyFile>
  readonly open: (path: string) => Promise<CustodyFile>
  readonly rename: (from: string, to: string) => Promise<void>
  readonly syncFolder: (folder: string) => Promise<void>
}

export interface CustodyFile {
  readonly write: (bytes: Buffer, position: number) => Promise<void>
  readonly truncate: (sizeBytes: number) => Promise<void>
  readonly sync: () => Promise<void>
  readonly close: () => Promise<void>
}

export const nodeDisk: CustodyDisk = {
  async makeFolder(path) {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await chmod(path, 0o700)
  },
  list: (folder) => readdir(folder),
  async look(path) {
    const found = await stat(path).catch((error: unknown) => {
      if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined
      throw error
    })
    return found && { inode: found.ino, sizeBytes: found.size }
  },
  read: (path) => readFile(path),
  create: async (path) => asFile(await open(path, WRITE | constants.O_CREAT | constants.O_EXCL, 0o600)),
  open: async (path) => asFile(await open(path, WRITE)),
  rename: (from, to) => rename(from, to),
  async syncFolder(folder) {
    await using handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
    await handle.sync()
  },
}

const WRITE = constants.O_RDWR | constants.O_NOFOLLOW

function asFile(handle: FileHandle): CustodyFile {
  return {
    async write(bytes, position) {
      for (let done = 0; done < bytes.length;) {
        done += (await handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten
      }
    },
    truncate: (sizeBytes) => handle.truncate(sizeBytes),
    sync: () => handle.sync(),
    close: () => handle.close(),
  }
}

/**
 * Replaces a file atomically: after a power failure, readers see either the old content or the new
 * one.
 */
export async function replaceFile(disk: CustodyDisk, path: string, text: string): Promise<void> {
  const temporary = `${path}.new`
  const left = await disk.look(temporary)
  const file = left === undefined ? await disk.create(temporary) : await disk.open(temporary)
  try {
    await file.truncate(0)
    await file.write(Buffer.from(text), 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await disk.rename(temporary, path)
  await disk.syncFolder(dirname(path))
}
