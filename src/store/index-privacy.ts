import { chmodSync, lstatSync, type Stats } from 'node:fs'
import { dirname } from 'node:path'

export interface IndexPrivacy {
  /** What others were allowed until now, by path. */
  readonly tightened: readonly { readonly path: string; readonly mode: string; readonly owner: number }[]
  /** Somebody removed or replaced the file under us: what we write is lost at the next start, which rebuilds it. */
  readonly isGone: boolean
}

/** The index names what runs on the node, so it stays 0600 in a 0700 folder while the agent runs, whoever changes that. */
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
