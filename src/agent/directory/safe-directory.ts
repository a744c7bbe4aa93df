import { lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isSystemError, UnavailableError } from '../../shared/errors.ts'
import { systemErrorReason } from '../../shared/system-error.ts'

/**
 * Throws unless every directory from the root down to this one belongs to root or the agent's user, and no other user
 * can change it. The runtime opens the path as root and follows links, so a user who can replace a directory on the
 * path chooses the file that it overwrites. A sticky directory such as /tmp is safe, because other users cannot rename
 * or remove the agent's files in it.
 */
export function assertSafeDirectory(directory: string): void {
  assertExists(directory)
  assertSafe(directory, directory)
}

/**
 * Follows links one at a time, because each directory that they lead through must be safe. The caller has checked that
 * they resolve.
 */
function assertSafe(directory: string, path: string): void {
  for (const folder of withParents(path)) {
    const stat = lstatSync(folder)
    if (stat.isSymbolicLink()) {
      if (!isTrusted(stat.uid))
        throw unsafe(directory, `the link "${folder}" belongs to user ${stat.uid}`, `chown -h root: ${folder}`)
      assertSafe(directory, resolve(dirname(folder), readlinkSync(folder)))
      continue
    }
    if (!stat.isDirectory()) throw unsafe(directory, `"${folder}" is not a folder`)
    if (!isTrusted(stat.uid))
      throw unsafe(directory, `"${folder}" belongs to user ${stat.uid}`, `chown root: ${folder}`)
    const isWritableByOthers = (stat.mode & 0o022) !== 0
    const isSticky = (stat.mode & 0o1000) !== 0
    if (isWritableByOthers && !isSticky)
      throw unsafe(directory, `"${folder}" can be written by others`, `chmod go-w ${folder}`)
  }
}

function assertExists(directory: string): void {
  try {
    realpathSync(directory)
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw cannotReach(directory, error)
    throw new UnavailableError(`Cannot use the checkpoint directory "${directory}": it does not exist`, {
      code: 'DirectoryMissing',
      hint: 'The kubelet makes it at its start while the feature gate ContainerCheckpoint is on; or set checkpoints.directory.',
      cause: error,
    })
  }
}

function cannotReach(directory: string, error: unknown): UnavailableError {
  return new UnavailableError(`Cannot use the checkpoint directory "${directory}": ${systemErrorReason(error)}`, {
    code: 'LocationNotWritable',
    hint: 'The agent must be able to read and write checkpoints.directory; run it as root, or set another one.',
    cause: error,
  })
}

function withParents(folder: string): string[] {
  const parent = dirname(folder)
  return parent === folder ? [folder] : [...withParents(parent), folder]
}

function isTrusted(uid: number): boolean {
  return uid === 0 || uid === process.geteuid?.()
}

function unsafe(directory: string, what: string, remedy?: string): UnavailableError {
  return new UnavailableError(`Cannot stage a checkpoint in "${directory}": ${what}`, {
    code: 'UnsafeDirectory',
    hint: remedy === undefined ? 'Give the agent another checkpoint directory.' : `As root on the node: ${remedy}`,
  })
}
