import { lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { enableCompileCache, flushCompileCache, getCompileCacheDir } from 'node:module'
import process from 'node:process'

const FOLDER = 'compile-cache'

/** By then nearly everything that a running agent needs has been compiled. */
const WRITE_AFTER_MS = 10_000

/**
 * Keeps what is compiled in the state directory, for the next start. The image cannot bring it along: it is good for one
 * processor, one Node.js and its flags. Where others can reach the folder, or it cannot be made, the start does without.
 */
export function useCompileCache(stateDirectory: string): void {
  const folder = join(stateDirectory, FOLDER)
  if (!isOursAlone(stateDirectory) || !makeFolder(folder)) return
  enableCompileCache(folder)
  const used = getCompileCacheDir()
  if (used === undefined || dirname(used) !== folder) return
  removeOthers(folder, basename(used))
  setTimeout(flushCompileCache, WRITE_AFTER_MS).unref()
}

function makeFolder(folder: string): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 })
    return true
  } catch {
    return isOursAlone(folder)
  }
}

/** What lies in there is run. */
function isOursAlone(folder: string): boolean {
  try {
    const stat = lstatSync(folder)
    return stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0
  } catch {
    return false
  }
}

/** Of an earlier Node.js, or another processor. Where they cannot be removed, they are in nobody's way. */
function removeOthers(folder: string, current: string): void {
  try {
    for (const name of readdirSync(folder)) {
      if (name !== current) rmSync(join(folder, name), { recursive: true, force: true })
    }
  } catch {
    // A read-only disk, for example: the start says so where it matters.
  }
}
