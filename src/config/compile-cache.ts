import { lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { enableCompileCache, flushCompileCache, getCompileCacheDir } from 'node:module'
import process from 'node:process'

const FOLDER = 'compile-cache'

/** Time after the start when a running agent has compiled nearly everything it needs. */
const WRITE_AFTER_MS = 10_000

/**
 * Caches compiled code in the state directory for the next start. The image cannot contain this
 * cache, because it fits one processor, one Node.js version and its flags. Does nothing if others
 * can write to the directory or it cannot be created.
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

/** Checks that only this user can write to the directory, because its code is executed. */
function isOursAlone(folder: string): boolean {
  try {
    const stat = lstatSync(folder)
    return stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0
  } catch {
    return false
  }
}

/** Removes caches of other Node.js versions and processors. Failures are harmless. */
function removeOthers(folder: string, current: string): void {
  try {
    for (const name of readdirSync(folder)) {
      if (name !== current) rmSync(join(folder, name), { recursive: true, force: true })
    }
  } catch {
    // A read-only disk, for example. The start reports it if it matters.
  }
}
