import { readdirSync, readFileSync, statSync, type Stats } from 'node:fs'

/** O_WRONLY and O_RDWR: which of the two bits is set does not matter here. */
const WRITE_BITS = 0b11

/**
 * The processes of this machine, those in its nodes included, that hold this file open to write to it. Without those that
 * do not let themselves be looked at, such as the first process of a container.
 */
export function findWriters(path: string): readonly number[] {
  const file = findStat(path)
  if (file === undefined) return []
  return readNames('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) =>
      readNames(`/proc/${pid}/fd`).some((descriptor) => {
        // the name of a file in another mount namespace says nothing: what counts is which file it is
        const open = findStat(`/proc/${pid}/fd/${descriptor}`)
        return open?.ino === file.ino && open.dev === file.dev && isForWriting(pid, descriptor)
      }),
    )
    .map(Number)
}

function isForWriting(pid: string, descriptor: string): boolean {
  const [, flags = '0'] = /^flags:\t(\d+)$/m.exec(readText(`/proc/${pid}/fdinfo/${descriptor}`)) ?? []
  return (Number.parseInt(flags, 8) & WRITE_BITS) !== 0
}

// Processes end, and close their files, while they are looked at.

function findStat(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

function readNames(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
