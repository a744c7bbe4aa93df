import { lstatSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { isSystemError, UnavailableError } from '../shared/errors.ts'

/**
 * Throws unless every folder from the root down to this one belongs to root or to us and can be changed by nobody else.
 * The runtime opens the path that we give it as root and follows links: whoever can swap a folder on the way decides
 * which file it overwrites. A sticky folder (as /tmp) is fine: others cannot rename or remove what is ours in it.
 */
export function assertSafeDirectory(directory: string): void {
  for (const folder of [directory, realpath(directory)].flatMap(withParents)) {
    const stat = lstatSync(folder)
    if (stat.isSymbolicLink()) {
      if (!isTrusted(stat.uid))
        throw unsafe(directory, `the link "${folder}" belongs to user ${stat.uid}`, `chown -h root: ${folder}`)
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

function realpath(directory: string): string {
  try {
    return realpathSync(directory)
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ENOTDIR')) throw error
    throw new UnavailableError(`Cannot use the checkpoint directory "${directory}": it does not exist`, {
      code: 'DirectoryMissing',
      hint: 'The kubelet makes it at its start while the feature gate ContainerCheckpoint is on; or set checkpoints.directory.',
      cause: error,
    })
  }
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
