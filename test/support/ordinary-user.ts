import { chownSync } from 'node:fs'
import process from 'node:process'

const NOBODY = 65_534

/**
 * Runs this without the rights of root, which no mode of a file holds back. The folders are made that user's first.
 * Nothing may be awaited in it: the whole process is somebody else meanwhile.
 */
export function asOrdinaryUser<T>(folders: readonly string[], run: () => T): T {
  if (process.geteuid?.() !== 0) return run()
  for (const folder of folders) chownSync(folder, NOBODY, NOBODY)
  process.seteuid?.(NOBODY)
  try {
    return run()
  } finally {
    process.seteuid?.(0)
    for (const folder of folders) chownSync(folder, 0, 0)
  }
}
