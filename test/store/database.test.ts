import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { UnavailableError } from '../../src/shared/errors.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { openDatabase } from '../../src/store/database.ts'
import { asOrdinaryUser } from '../support/ordinary-user.ts'
import { recordingLogger } from '../support/test-agent.ts'

const clock = { now: () => new Date('2026-11-20T21:34:07.123Z') }
const ASIDE = 'index.db.unusable-2026-11-20T213407.123Z'

let root: string
let folder: string
let file: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'database-'))
  folder = join(root, 'state')
  file = join(folder, 'index.db')
})

afterEach(() => {
  chmodSync(root, 0o700)
  rmSync(root, { recursive: true })
})

function open(logger = silentLogger): Sqlite.Database {
  return openDatabase({ file, clock, logger })
}

const countJobs = (database: Sqlite.Database) => database.prepare('SELECT count(*) FROM jobs').pluck().get()

function addJobs(database: Sqlite.Database, count: number): void {
  const insert = database.prepare(
    "INSERT INTO jobs (id, requested_by, whole_pod, reason, pin, queued_at) VALUES (?, 'somebody', 0, ?, 0, 0)",
  )
  database.transaction(() => {
    for (let at = 0; at < count; at += 1) insert.run(String(at).padStart(8, '0'), 'x'.repeat(200))
  })()
}

describe('openDatabase', () => {
  it('makes a file that nobody else can read, in a folder that nobody else can enter', () => {
    using opened = closing(open())
    addJobs(opened.database, 1)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    const modes = readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mode & 0o777])
    expect(modes).toEqual([
      ['index.db', 0o600],
      ['index.db-shm', 0o600],
      ['index.db-wal', 0o600],
    ])
  })

  it('closes to others a folder that was open to them', () => {
    mkdirSync(folder, { mode: 0o755 })
    chmodSync(folder, 0o755)
    open().close()
    expect(statSync(folder).mode & 0o777).toBe(0o700)
  })

  it('finds again what was in it', () => {
    const first = open()
    addJobs(first, 3)
    first.close()
    using opened = closing(open())
    expect(countJobs(opened.database)).toBe(3)
    expect(readdirSync(folder).filter((name) => name.includes('unusable'))).toEqual([])
  })

  it('forgets the captures of a job with the job', () => {
    using opened = closing(open())
    expect(opened.database.pragma('foreign_keys', { simple: true })).toBe(1)
  })

  it.each([
    { name: 'garbage', spoil: () => writeFileSync(file, 'this is no database, and never was one\n'.repeat(100)) },
    { name: 'an index with a damaged first page', spoil: () => overwrite(0, 100) },
    { name: 'an index that is damaged further in', spoil: () => overwrite(5 * 4096, 4096) },
    { name: 'half an index', spoil: () => writeFileSync(file, readFileSync(file).subarray(0, 6 * 4096 + 100)) },
    { name: 'an index without one of its tables', spoil: () => sql('DROP TABLE checkpoints') },
    { name: 'an index without one of its own indexes', spoil: () => sql('DROP INDEX checkpoints_pod') },
    { name: 'the index of a newer agent', spoil: () => sql('PRAGMA user_version = 99') },
    {
      name: 'the database of another program',
      spoil: () => {
        rmSync(file)
        sql('CREATE TABLE jobs (id INTEGER)')
      },
    },
  ])('sets $name aside, says so, and begins anew', ({ spoil }) => {
    const first = open()
    addJobs(first, 500)
    first.close()
    spoil()
    const spoiled = readFileSync(file)

    const logger = recordingLogger()
    using opened = closing(open(logger))
    expect(countJobs(opened.database)).toBe(0)
    expect(readFileSync(join(folder, ASIDE)).equals(spoiled)).toBe(true)
    expect(logger.lines).toEqual([
      {
        level: 'error',
        fields: { file, aside: join(folder, ASIDE), error: expect.stringMatching(/\S/) },
        message: 'The index cannot be used; it is set aside and begun anew',
      },
    ])
  })

  it('takes over what a killed agent left in the journal', () => {
    const first = open()
    addJobs(first, 3)
    const copies = ['', '-wal'].map((suffix) => [suffix, readFileSync(file + suffix)] as const)
    first.close()
    for (const [suffix, bytes] of copies) writeFileSync(file + suffix, bytes)
    using opened = closing(open())
    expect(countJobs(opened.database)).toBe(3)
  })

  it.each([
    {
      name: 'the folder cannot be made',
      prepare: () => {
        chmodSync(root, 0o500)
      },
      code: 'StateUnavailable',
      message: 'Cannot make folder',
    },
    {
      name: 'the folder cannot be written',
      prepare: () => {
        mkdirSync(folder, { mode: 0o500 })
      },
      code: 'StateUnavailable',
      message: 'Cannot open the index',
    },
    {
      name: 'the file is a folder',
      prepare: () => {
        mkdirSync(file, { recursive: true, mode: 0o700 })
      },
      code: 'StateUnavailable',
      message: 'Cannot open the index',
    },
    {
      name: 'a file stands in the way',
      prepare: () => {
        writeFileSync(folder, '')
      },
      code: 'StateUnavailable',
      message: 'Cannot make folder',
    },
    {
      name: 'the folder is a link to somewhere',
      prepare: () => {
        mkdirSync(join(root, 'elsewhere'))
        symlinkSync(join(root, 'elsewhere'), folder)
      },
      code: 'UnsafeDirectory',
      message: 'Cannot use folder',
    },
  ])('says what to do when $name', ({ prepare, code, message }) => {
    const error = asOrdinaryUser([root], () => {
      prepare()
      return failureOf(() => open())
    })
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({
      code,
      message: expect.stringContaining(message),
      hint: expect.stringMatching(/\.$/),
    })
  })

  it('refuses a folder that belongs to somebody else', (context) => {
    if (process.geteuid?.() !== 0) context.skip('only root can make a folder of another user')
    mkdirSync(folder)
    const error = asOrdinaryUser([root], () => failureOf(() => open()))
    expect(error).toMatchObject({ code: 'UnsafeDirectory', message: expect.stringContaining('belongs to user 0') })
  })
})

function closing(database: Sqlite.Database): { readonly database: Sqlite.Database } & Disposable {
  return { database, [Symbol.dispose]: () => void database.close() }
}

function overwrite(at: number, length: number): void {
  const bytes = readFileSync(file)
  expect(bytes.length).toBeGreaterThan(at + length)
  bytes.fill(0xa5, at, at + length)
  writeFileSync(file, bytes)
}

function sql(statement: string): void {
  const database = new Sqlite(file)
  database.exec(statement)
  database.close()
}

function failureOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}
