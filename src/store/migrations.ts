import type Sqlite from 'better-sqlite3'

/** One entry a version; an entry that has been released is never changed. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE jobs (
     id TEXT PRIMARY KEY,
     requested_by TEXT NOT NULL,
     whole_pod INTEGER NOT NULL,
     reason TEXT,
     pin INTEGER NOT NULL,
     queued_at INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE captures (
     job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
     ordinal INTEGER NOT NULL,
     namespace TEXT NOT NULL,
     pod TEXT NOT NULL,
     pod_uid TEXT NOT NULL,
     container TEXT NOT NULL,
     container_id TEXT NOT NULL,
     state TEXT NOT NULL,
     started_at INTEGER,
     finished_at INTEGER,
     bytes_written INTEGER NOT NULL,
     phases TEXT NOT NULL,
     staging_id TEXT,
     was_paused INTEGER,
     dump_may_take_ms INTEGER,
     published_name TEXT,
     published_inode INTEGER,
     checkpoint_id TEXT,
     size_bytes INTEGER,
     taken_at INTEGER,
     failure TEXT,
     PRIMARY KEY (job_id, ordinal)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX captures_unfinished ON captures (state) WHERE state IN ('queued', 'running', 'sealing');
   CREATE INDEX captures_taken ON captures (namespace, pod, container, pod_uid, taken_at) WHERE state = 'succeeded';`,
]

/** Brings the schema up to date. Throws an error with code NEWER_SCHEMA for a database of a newer agent. */
export function migrate(database: Sqlite.Database): void {
  database.pragma('foreign_keys = ON')
  const version = Number(database.pragma('user_version', { simple: true }))
  if (version > MIGRATIONS.length) {
    const known = `this agent knows schema ${MIGRATIONS.length}, the file has ${version}`
    throw Object.assign(new Error(known), { code: 'NEWER_SCHEMA' })
  }
  database.transaction(() => {
    for (const statement of MIGRATIONS.slice(version)) database.exec(statement)
    database.pragma(`user_version = ${MIGRATIONS.length}`)
  })()
}
