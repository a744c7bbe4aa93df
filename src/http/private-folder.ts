import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isSystemError } from '../shared/errors.ts'

/**
 * Makes the folder and what is missing above it, for its owner only; one that is there stays as it is. Node's own
 * recursive mkdir never ends in a place such as /proc, where every attempt says that the folder above is missing.
 */
export async function makePrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    if (isSystemError(error, 'EEXIST')) return
    if (!isSystemError(error, 'ENOENT') || dirname(path) === path) throw error
    await makePrivateFolder(dirname(path))
    await mkdir(path, { mode: 0o700 })
  }
}
