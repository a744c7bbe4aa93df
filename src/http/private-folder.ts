import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isSystemError } from '../shared/errors.ts'

/**
 * Creates a directory and its missing parents with mode 0700; existing directories stay unchanged. Node's recursive
 * mkdir never returns in places such as /proc, where each attempt reports a missing parent.
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
