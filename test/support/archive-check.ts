import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs'

const MEMBERS = ['config.dump', 'spec.dump', 'checkpoint/inventory.img', 'checkpoint/pstree.img']
const END_OF_TAR_BYTES = 1024

/** Undefined for a whole checkpoint archive; else what is wrong with it. Read by the system's tar, not by our reader. */
export function archiveProblem(path: string): string | undefined {
  if (!existsSync(path)) return 'there is no file'
  const { size } = statSync(path)
  if (size % 512 !== 0) return `its ${size} bytes are no whole number of blocks`
  if (readTail(path, size).some((byte) => byte !== 0)) return 'it does not end with two zero blocks'
  const listing = spawnSync('tar', ['-tf', path], { encoding: 'utf8' })
  if (listing.status !== 0) return `tar says: ${listing.stderr}`
  const names = listing.stdout.split('\n')
  const missing = MEMBERS.filter((name) => !names.includes(name))
  return missing.length === 0 ? undefined : `it lacks ${missing.join(', ')}`
}

function readTail(path: string, size: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const tail = Buffer.alloc(END_OF_TAR_BYTES, 1)
    readSync(file, tail, 0, tail.length, Math.max(0, size - tail.length))
    return tail
  } finally {
    closeSync(file)
  }
}
