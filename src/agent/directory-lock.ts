import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { errorText, UnavailableError } from '../shared/errors.ts'

export interface DirectoryLock {
  release(): void
}

/**
 * One agent a checkpoint directory: two would take each other's staging for leftovers. Held through SQLite's own file
 * locks, which the kernel drops when the process dies, however it dies, and which hold across containers.
 */
export function lockDirectory(stagingRoot: string): DirectoryLock {
  let database: Sqlite.Database | undefined
  try {
    database = new Sqlite(join(stagingRoot, 'lock'), { timeout: 0 })
    database.pragma('journal_mode = MEMORY')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database?.close()
    if (error instanceof Sqlite.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      throw new UnavailableError(
        `Cannot use the checkpoint directory: another checkpoint-agent holds "${stagingRoot}/lock"`,
        {
          code: 'DirectoryLocked',
          hint: 'Stop the other agent on this node, or give this one a directory of its own with checkpoints.directory.',
        },
      )
    }
    throw new UnavailableError(`Cannot lock the checkpoint directory with "${stagingRoot}/lock": ${errorText(error)}`, {
      code: 'LocationNotWritable',
      hint: 'The agent must be able to write into checkpoints.directory.',
      cause: error,
    })
  }
  return {
    release() {
      database.close()
    },
  }
}
