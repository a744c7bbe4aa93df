import { chmodSync, lstatSync, type Stats } from 'node:fs'
import { dirname } from 'node:path'

export interface IndexPrivacy {
  /** Files whose permissions were tightened, with their previous mode. */
  readonly tightened: readonly { readonly path: string; readonly mode: string; readonly owner: number }[]
  /**
   * True if the open file was removed or replaced. Its content is lost at the next start, which
   * rebuilds the index.
   */
  readonly isGone: boolean
}

/**
 * Restores the modes 0600 of the index and 0700 of its directory if anyone changed them, because
 * the index names the workloads of the node.
 */
export function keepIndexPrivate(file: string, inode: number): IndexPrivacy {
  const paths = [dirname(file), file, `${file}-wal`, `${file}-shm`]
  const tightened = paths.flatMap((path) => {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat === undefined || stat.isSymbolicLink() || (stat.mode & 0o077) === 0) return []
    chmodSync(path, stat.mode & 0o700)
    return [{ path, mode: octal(stat), owner: stat.uid }]
  })
  return { tightened, isGone: lstatSync(file, { throwIfNoEntry: false })?.ino !== inode }
}

function octal({ mode }: Stats): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}
