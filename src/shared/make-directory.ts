import { accessSync, constants, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isSystemError } from './errors.ts'
import { systemErrorReason } from './system-error.ts'

/**
 * Creates a directory and its missing parents for the owner only. An existing directory stays
 * unchanged. Throws the error of the failed call.
 *
 * Node.js's recursive mkdir never ends in a place such as /proc, where every attempt reports a
 * missing parent. It also reports ENOENT for a read-only file system.
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

/** Explains why `makeDirectory` failed. */
export function whyNotMade(error: unknown): string {
  return isSystemError(error, 'ENOENT')
    ? 'nobody can make directories in that place, such as /proc (ENOENT)'
    : systemErrorReason(error)
}

/** Returns the system's reason why the directory is not writable; undefined if it is. */
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
