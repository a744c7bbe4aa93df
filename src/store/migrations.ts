import type Sqlite from 'better-sqlite3'

/** One entry per schema version. Never change a released entry. */
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

  // Every filter has an index in the default order, and every order has an index with all filter
  // columns, so no list reads the table to find its rows. Indexes contain names as a short code of
  // their digest: full names would double their size, and the time to write and scan them.
  `CREATE TABLE checkpoints (
     id INTEGER NOT NULL UNIQUE,
     state INTEGER NOT NULL,
     engine INTEGER NOT NULL,
     identity_source INTEGER NOT NULL,
     pinned INTEGER NOT NULL,
     size_bytes INTEGER NOT NULL,
     taken_at INTEGER NOT NULL,
     discovered_at INTEGER NOT NULL,
     generation TEXT NOT NULL,
     namespace_code INTEGER,
     pod_code INTEGER,
     pod_uid_code INTEGER,
     container_code INTEGER,
     namespace TEXT,
     pod TEXT,
     pod_uid TEXT,
     container TEXT,
     raw_name BLOB NOT NULL,
     file_name TEXT NOT NULL,
     sha256 TEXT,
     details TEXT NOT NULL
   ) STRICT;
   CREATE INDEX captures_of_file ON captures (checkpoint_id);
   CREATE INDEX checkpoints_namespace ON checkpoints (namespace_code, taken_at, id);
   CREATE INDEX checkpoints_pod ON checkpoints (pod_code, taken_at, id);
   CREATE INDEX checkpoints_pod_uid ON checkpoints (pod_uid_code, taken_at, id);
   CREATE INDEX checkpoints_container ON checkpoints (container_code, taken_at, id);
   CREATE INDEX checkpoints_engine ON checkpoints (engine, taken_at, id);
   CREATE INDEX checkpoints_identity_source ON checkpoints (identity_source, taken_at, id);
   CREATE INDEX checkpoints_pinned ON checkpoints (pinned, taken_at, id);
   CREATE INDEX checkpoints_state ON checkpoints (state, taken_at, id, size_bytes);
   CREATE INDEX checkpoints_by_taken_at ON checkpoints (taken_at, id, size_bytes,
     namespace_code, pod_code, pod_uid_code, container_code, state, engine, identity_source, pinned);
   CREATE INDEX checkpoints_by_discovered_at ON checkpoints (discovered_at, id, taken_at, size_bytes,
     namespace_code, pod_code, pod_uid_code, container_code, state, engine, identity_source, pinned);
   CREATE INDEX checkpoints_by_size_bytes ON checkpoints (size_bytes, id, taken_at,
     namespace_code, pod_code, pod_uid_code, container_code, state, engine, identity_source, pinned);
   CREATE INDEX checkpoints_by_file_name ON checkpoints (file_name, id, taken_at, size_bytes,
     namespace_code, pod_code, pod_uid_code, container_code, state, engine, identity_source, pinned);`,

  // Time for which pods have been gone, counted only while the runtime answered, and the last
  // sweeps.
  `CREATE TABLE gone_pods (
     pod_uid TEXT PRIMARY KEY,
     gone_ms INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE sweeps (
     id TEXT PRIMARY KEY,
     report TEXT NOT NULL
   ) STRICT, WITHOUT ROWID;`,

  // Names are stored once in a table of their own, and indexes contain their numbers. Unlike a
  // code, a number identifies one name, so no query compares names. One index also contains all
  // columns of a plan, so that a plan reads only the rows that it removes.
  `CREATE TABLE names (
     number INTEGER PRIMARY KEY,
     name TEXT NOT NULL UNIQUE
   ) STRICT;
   INSERT INTO names (name)
     SELECT namespace FROM checkpoints WHERE namespace IS NOT NULL
     UNION SELECT pod FROM checkpoints WHERE pod IS NOT NULL
     UNION SELECT pod_uid FROM checkpoints WHERE pod_uid IS NOT NULL
     UNION SELECT container FROM checkpoints WHERE container IS NOT NULL;
   ALTER TABLE gone_pods RENAME TO gone_pods_by_uid;
   CREATE TABLE gone_pods (
     number INTEGER PRIMARY KEY REFERENCES names (number) ON DELETE CASCADE,
     since_ms INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE gone_clock (watched_ms INTEGER NOT NULL) STRICT;
   INSERT INTO gone_clock VALUES (0);
   INSERT INTO gone_pods SELECT number, -gone_ms FROM gone_pods_by_uid JOIN names ON name = pod_uid;
   DROP TABLE gone_pods_by_uid;
   DROP INDEX checkpoints_namespace;
   DROP INDEX checkpoints_pod;
   DROP INDEX checkpoints_pod_uid;
   DROP INDEX checkpoints_container;
   DROP INDEX checkpoints_by_taken_at;
   DROP INDEX checkpoints_by_discovered_at;
   DROP INDEX checkpoints_by_size_bytes;
   DROP INDEX checkpoints_by_file_name;
   ALTER TABLE checkpoints RENAME COLUMN namespace_code TO namespace_number;
   ALTER TABLE checkpoints RENAME COLUMN pod_code TO pod_number;
   ALTER TABLE checkpoints RENAME COLUMN pod_uid_code TO pod_uid_number;
   ALTER TABLE checkpoints RENAME COLUMN container_code TO container_number;
   ALTER TABLE checkpoints ADD COLUMN is_believed INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE checkpoints ADD COLUMN modified_at INTEGER NOT NULL DEFAULT 0;
   UPDATE checkpoints SET
     namespace_number = (SELECT number FROM names WHERE name = namespace),
     pod_number = (SELECT number FROM names WHERE name = pod),
     pod_uid_number = (SELECT number FROM names WHERE name = pod_uid),
     container_number = (SELECT number FROM names WHERE name = container),
     is_believed = coalesce(json_extract(details, '$.isBelieved'), 0),
     modified_at = CAST(substr(generation, length(rtrim(generation, '-0123456789')) + 1) AS INTEGER) / 1000000;
   CREATE INDEX checkpoints_namespace ON checkpoints (namespace_number, taken_at, id, is_believed);
   CREATE INDEX checkpoints_pod ON checkpoints (pod_number, taken_at, id);
   CREATE INDEX checkpoints_pod_uid ON checkpoints (pod_uid_number, taken_at, id);
   CREATE INDEX checkpoints_container ON checkpoints (container_number, taken_at, id);
   CREATE INDEX checkpoints_by_taken_at ON checkpoints (taken_at, id, size_bytes, namespace_number, pod_number,
     pod_uid_number, container_number, state, engine, identity_source, pinned, is_believed, modified_at);
   CREATE INDEX checkpoints_by_discovered_at ON checkpoints (discovered_at, id, taken_at, size_bytes, namespace_number,
     pod_number, pod_uid_number, container_number, state, engine, identity_source, pinned, is_believed);
   CREATE INDEX checkpoints_by_size_bytes ON checkpoints (size_bytes, id, taken_at, namespace_number, pod_number,
     pod_uid_number, container_number, state, engine, identity_source, pinned, is_believed);
   CREATE INDEX checkpoints_by_file_name ON checkpoints (file_name, id, taken_at, size_bytes, namespace_number,
     pod_number, pod_uid_number, container_number, state, engine, identity_source, pinned, is_believed);`,

  // Reasons of captures and pins, as columns for filters. Few rows have one.
  `ALTER TABLE checkpoints ADD COLUMN reason TEXT;
   ALTER TABLE checkpoints ADD COLUMN pin_reason TEXT;
   UPDATE checkpoints SET pin_reason = json_extract(details, '$.pin.reason') WHERE pinned = 1;
   UPDATE checkpoints SET reason = (
     SELECT jobs.reason FROM captures JOIN jobs ON jobs.id = job_id
     WHERE checkpoint_id = printf('%016x', checkpoints.id) AND captures.state = 'succeeded' LIMIT 1
   ) WHERE identity_source = 0;
   CREATE INDEX checkpoints_reason ON checkpoints (reason, id) WHERE reason IS NOT NULL;
   CREATE INDEX checkpoints_pin_reason ON checkpoints (pin_reason, id) WHERE pin_reason IS NOT NULL;`,

  // Jobs have the namespace of their pod, so that a page of a caller's jobs is found without
  // reading others. A flag marks captures whose complete archive is not published yet.
  `ALTER TABLE jobs ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
   UPDATE jobs SET namespace =
     coalesce((SELECT namespace FROM captures WHERE job_id = jobs.id ORDER BY ordinal LIMIT 1), '');
   CREATE INDEX jobs_namespace ON jobs (namespace, id);
   ALTER TABLE captures ADD COLUMN is_held INTEGER NOT NULL DEFAULT 0;
   CREATE INDEX captures_held ON captures (is_held) WHERE is_held = 1;`,
]

/** Updates the schema. Throws an error with code NEWER_SCHEMA for a database of a newer agent. */
export function migrate(database: Sqlite.Database, newest = MIGRATIONS.length): void {
  database.pragma('foreign_keys = ON')
  const version = Number(database.pragma('user_version', { simple: true }))
  if (version > MIGRATIONS.length) {
    const known = `this agent knows schema ${MIGRATIONS.length}, the file has ${version}`
    throw Object.assign(new Error(known), { code: 'NEWER_SCHEMA' })
  }
  if (version === newest) return
  database.transaction(() => {
    for (const statement of MIGRATIONS.slice(version, newest)) database.exec(statement)
    database.pragma(`user_version = ${newest}`)
  })()
}
