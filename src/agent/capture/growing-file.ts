import { type FileHandle } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { openNoFollow } from '../../shared/open-no-follow.ts'
import { isSystemError } from '../../shared/errors.ts'

/** Bytes written before each sync. A smaller value causes more flushes, a larger one a longer last sync. */
const SYNC_EVERY_BYTES = 16 * 1024 * 1024

const LOOK_EVERY_MS = 10

export interface GrowingFile {
  /** Stops following the file and returns once no sync is under way. */
  stop(): Promise<void>
}

/**
 * Follows a file that another process writes. Reports its size and syncs its content during the write, so that the last
 * sync has little to do. Errors are left to that last sync, which reports them.
 */
export function followGrowingFile(path: string, onSize: (bytes: number) => void): GrowingFile {
  const stop = new AbortController()
  const done = follow(path, onSize, stop.signal)
  return {
    async stop() {
      stop.abort()
      await done
    },
  }
}

async function follow(path: string, onSize: (bytes: number) => void, signal: AbortSignal): Promise<void> {
  await using handles = new AsyncDisposableStack()
  let file: FileHandle | undefined
  let synced = 0
  while (!signal.aborted) {
    file ??= await openIfThere(path, handles)
    if (file !== undefined) {
      const size = (await file.stat().catch(() => undefined))?.size ?? 0
      onSize(size)
      if (size - synced >= SYNC_EVERY_BYTES) {
        await file.datasync().catch(() => undefined)
        synced = size
      }
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

async function openIfThere(path: string, handles: AsyncDisposableStack): Promise<FileHandle | undefined> {
  try {
    return handles.use(await openNoFollow(path))
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    return undefined
  }
}
