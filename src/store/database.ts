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
 * Opens the index, which is a cache: a damaged one, or one of a newer agent, is set aside and begun anew.
 * The file is 0600 in a 0700 folder: it names what runs on the node.
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
    // In KiB; the kernel has the whole file in its own cache anyway.
    database.pragma('cache_size = -2000')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Opening reads the first page only, and a damaged one further in would fail a capture much later. */
function assertSound(database: Sqlite.Database): void {
  const found = database.pragma('quick_check(1)', { simple: true })
  if (found !== 'ok') throw Object.assign(new Error(String(found)), { code: 'SQLITE_CORRUPT' })
}

/** Somebody may have dropped or changed a table: then every statement fails, at a time of its own. */
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
  // Tables that SQLite makes by itself, as for statistics, are its own business.
  const entries = database
    .prepare("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
    .all()
  return JSON.stringify(entries)
}

/** Makes the folder, or checks that nobody else can reach into it. */
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
  // A plain SQL error at this point is a table that is missing or not ours: the file is of another program.
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
