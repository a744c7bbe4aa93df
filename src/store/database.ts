import { chmodSync, existsSync, lstatSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import Sqlite from 'better-sqlite3'
import { errorText, UnavailableError } from '../shared/errors.ts'
import type { Clock } from '../shared/clock.ts'
import { makeDirectory, whyNotMade } from '../shared/make-directory.ts'
import type { Logger } from '../shared/logger.ts'
import { systemErrorReason } from '../shared/system-error.ts'
import { migrate } from './migrations.ts'

export interface DatabaseOptions {
  readonly file: string
  readonly logger: Logger
  readonly clock: Clock
}

/**
 * Opens the index, which is a cache: a damaged one, or one of a newer agent, is moved aside and
 * rebuilt. The file has mode 0600 in a 0700 directory, because it names the workloads of the node.
 */
export function openDatabase(options: DatabaseOptions): Sqlite.Database {
  const { file } = options
  makePrivateFolder(dirname(file))
  try {
    return open(file)
  } catch (error) {
    if (!isBeyondRepair(error)) throw cannotOpen(file, error)
    quarantine(options, error)
    try {
      return open(file)
    } catch (again) {
      throw cannotOpen(file, again)
    }
  }
}

function open(file: string): Sqlite.Database {
  const database = new Sqlite(file)
  try {
    chmodSync(file, 0o600)
    database.pragma('busy_timeout = 5000')
    assertSound(database)
    migrate(database)
    assertSchema(database)
    database.pragma('journal_mode = WAL')
    database.pragma('synchronous = NORMAL')
    // In KiB; the kernel caches the whole file anyway.
    database.pragma('cache_size = -2000')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/**
 * Checks the whole file. Opening reads only the first page, and damage elsewhere would fail a
 * capture much later.
 */
function assertSound(database: Sqlite.Database): void {
  const found = database.pragma('quick_check(1)', { simple: true })
  if (found !== 'ok') throw Object.assign(new Error(String(found)), { code: 'SQLITE_CORRUPT' })
}

/**
 * Compares the schema with a fresh one. After a dropped or changed table, statements would fail at
 * arbitrary times.
 */
function assertSchema(database: Sqlite.Database): void {
  const fresh = new Sqlite(':memory:')
  try {
    migrate(fresh)
    if (schemaOf(database) === schemaOf(fresh)) return
  } finally {
    fresh.close()
  }
  throw Object.assign(new Error('its tables are not those of this version'), { code: 'SCHEMA_DIFFERS' })
}

function schemaOf(database: Sqlite.Database): string {
  // Tables that SQLite creates by itself, such as those for statistics, are ignored.
  const entries = database
    .prepare("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
    .all()
  return JSON.stringify(entries)
}

/** Creates a directory, or checks that no other user can access it. */
export function makePrivateFolder(folder: string): void {
  try {
    makeDirectory(folder)
  } catch (error) {
    throw new UnavailableError(`Cannot make folder "${folder}": ${whyNotMade(error)}`, {
      code: 'StateUnavailable',
      hint: 'See that state.directory is on a writable disk and that the agent may write there.',
      cause: error,
    })
  }
  const stat = lstatSync(folder)
  const isOurs = stat.isDirectory() && stat.uid === (process.geteuid?.() ?? stat.uid)
  if (!isOurs) {
    throw new UnavailableError(`Cannot use folder "${folder}": it belongs to user ${stat.uid}, or is no folder`, {
      code: 'UnsafeDirectory',
      hint: 'Give the agent a folder of its own.',
    })
  }
  if ((stat.mode & 0o077) !== 0) closeToOthers(folder)
}

function closeToOthers(folder: string): void {
  try {
    chmodSync(folder, 0o700)
  } catch (error) {
    throw new UnavailableError(`Cannot close folder "${folder}" to others: ${systemErrorReason(error)}`, {
      code: 'StateUnavailable',
      hint: `See that it is on a writable disk; as root on the node: chmod 0700 ${folder}`,
      cause: error,
    })
  }
}

function isBeyondRepair(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  // A plain SQL error here means a missing or unknown table: the file belongs to another program.
  return (
    code.startsWith('SQLITE_CORRUPT') ||
    ['SQLITE_NOTADB', 'SQLITE_ERROR', 'NEWER_SCHEMA', 'SCHEMA_DIFFERS'].includes(code)
  )
}

function quarantine({ file, logger, clock }: DatabaseOptions, error: unknown): void {
  const aside = `${file}.unusable-${clock.now().toISOString().replaceAll(':', '')}`
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix)
  }
  logger.error({ file, aside, error: errorText(error) }, 'The index cannot be used; it is set aside and begun anew')
}

function cannotOpen(file: string, error: unknown): UnavailableError {
  return new UnavailableError(`Cannot open the index "${file}": ${errorText(error)}`, {
    code: 'StateUnavailable',
    hint: 'See that state.directory is on a writable disk with free space and belongs to the user the agent runs as.',
    cause: error,
  })
}
