import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { errorText, UnavailableError } from '../../shared/errors.ts'
import { whyNotWritable } from '../../shared/make-directory.ts'

export interface DirectoryLock {
  release(): void
}

/** Setting of a directory that only one agent may use. */
export type LockedSetting = 'checkpoints.directory' | 'state.directory'

const WHAT: Readonly<Record<LockedSetting, string>> = {
  'checkpoints.directory': 'checkpoint directory',
  'state.directory': 'state directory',
}

/**
 * Locks both directories of an agent or neither: the staging directory in `checkpoints.directory`, and
 * `state.directory`.
 */
export function lockDirectories({
  staging,
  state,
}: {
  readonly staging: string
  readonly state: string
}): DirectoryLock {
  const first = lockDirectory(staging)
  try {
    const second = lockDirectory(state, 'state.directory')
    return {
      release() {
        second.release()
        first.release()
      },
    }
  } catch (error) {
    first.release()
    throw error
  }
}

/**
 * Locks a directory for one agent. In the checkpoint directory, two agents would take each other's staging for
 * leftovers. In the state directory, they would write to the same custody log. The lock consists of SQLite's file
 * locks. They work across containers, and the kernel drops them when the process dies.
 */
export function lockDirectory(directory: string, setting: LockedSetting = 'checkpoints.directory'): DirectoryLock {
  let database: Sqlite.Database | undefined
  try {
    database = new Sqlite(join(directory, 'lock'), { timeout: 0 })
    database.pragma('journal_mode = MEMORY')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database?.close()
    throw isBusy(error) ? alreadyLocked(directory, setting) : cannotLock(directory, setting, error)
  }
  return {
    release() {
      database.close()
    },
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Sqlite.SqliteError && error.code.startsWith('SQLITE_BUSY')
}

function alreadyLocked(directory: string, setting: LockedSetting): UnavailableError {
  return new UnavailableError(`Cannot use the ${WHAT[setting]}: another checkpoint-agent holds "${directory}/lock"`, {
    code: 'DirectoryLocked',
    hint: 'Stop the other agent on this node, or give this one directories of its own: set both checkpoints.directory and state.directory.',
  })
}

/** Returns the error with its cause, since SQLite says only that it could not open the file. */
function cannotLock(directory: string, setting: LockedSetting, error: unknown): UnavailableError {
  const reason = whyNotWritable(directory)
  return new UnavailableError(
    `Cannot lock the ${WHAT[setting]} with "${directory}/lock": ${reason ?? errorText(error)}`,
    {
      code: 'LocationNotWritable',
      hint:
        reason === undefined
          ? `See what "${directory}/lock" is; while no agent runs it may be removed.`
          : `The agent must be able to write into ${setting}.`,
      cause: error,
    },
  )
}
