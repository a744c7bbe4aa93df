import { accessSync, constants, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isSystemError } from './errors.ts'
import { systemErrorReason } from './system-error.ts'

/**
 * Makes the directory and those that are missing above it, for its owner only. One that is there stays as it is.
 * Throws the error of the call that failed. Node's own recursive mkdir never ends in a place such as /proc, where each
 * attempt says that the directory above is missing, and says ENOENT on a read-only file system.
 */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if (isDirectory(path)) return
    if (!isSystemError(error, 'ENOENT') || dirname(path) === path) throw error
    makeDirectory(dirname(path))
    mkdirSync(path, { mode: 0o700 })
  }
}

/** Says why `makeDirectory` failed. */
export function whyNotMade(error: unknown): string {
  return isSystemError(error, 'ENOENT')
    ? 'nobody can make directories in that place, such as /proc (ENOENT)'
    : systemErrorReason(error)
}

/** Says why nothing can be written into this directory, as the system does; undefined where it can. */
export function whyNotWritable(directory: string): string | undefined {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    return systemErrorReason(error)
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}
