import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isSystemError } from '../shared/errors.ts'

export interface ArchiveCensus {
  readonly count: number
  readonly bytes: number
}

/** How many archives lie in the directory and what they take up: regular `.tar` files directly in it. */
export async function countArchives(directory: string): Promise<ArchiveCensus> {
  // Names as bytes: one that is not UTF-8 must be found again.
  const names = await readdir(directory, { encoding: 'buffer' }).catch((error: unknown) => {
    if (isSystemError(error, 'ENOENT')) return []
    throw error
  })
  const prefix = Buffer.from(join(directory, '/'))
  let count = 0
  let bytes = 0
  for (const name of names) {
    if (name[0] === DOT || !name.subarray(-4).equals(SUFFIX)) continue
    const stat = await lstat(Buffer.concat([prefix, name])).catch(() => undefined)
    if (stat?.isFile() !== true) continue
    count += 1
    bytes += stat.size
  }
  return { count, bytes }
}

const DOT = '.'.charCodeAt(0)
const SUFFIX = Buffer.from('.tar')
