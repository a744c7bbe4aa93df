import type Sqlite from 'better-sqlite3'
import type {
  CaptureFailure,
  CaptureJob,
  CapturePhase,
  CaptureState,
  ContainerCapture,
} from '../checkpoint/capture-job.ts'

/** State of a running capture that the next start of the agent needs; it is not shown. */
export interface CaptureTraces {
  readonly stagingId?: string
  /**
   * False if the container was running right before the dump; only then may the agent resume a
   * pause.
   */
  readonly wasPaused?: boolean
  readonly dumpMayTakeMs?: number
  /** The final name about to be published, and the inode of its file. */
  readonly publishedName?: string
  readonly publishedInode?: number
}

/** A page of the list of jobs. */
export interface JobPage {
  readonly limit: number
  /** Last job of the previous page. */
  readonly before?: string
  /** Namespaces to list; absent for all. */
  readonly namespaces?: readonly string[]
}

export interface UnfinishedCapture {
  readonly jobId: string
  readonly ordinal: number
  readonly pin: boolean
  readonly reason: string | undefined
  readonly requestedBy: string
  readonly capture: ContainerCapture
  readonly traces: CaptureTraces
}

interface JobRow {
  id: string
  namespace: string
  requested_by: string
  whole_pod: number
  reason: string | null
  pin: number
  queued_at: number
}

interface CaptureRow {
  job_id: string
  ordinal: number
  namespace: string
  pod: string
  pod_uid: string
  container: string
  container_id: string
  state: string
  started_at: number | null
  finished_at: number | null
  bytes_written: number
  phases: string
  staging_id: string | null
  was_paused: number | null
  dump_may_take_ms: number | null
  published_name: string | null
  published_inode: number | null
  checkpoint_id: string | null
  size_bytes: number | null
  taken_at: number | null
  failure: string | null
  /** 1 if staging holds its complete archive. */
  is_held: number
}

/** Ended jobs kept; the oldest are removed first. The custody log still records their archives. */
const KEPT_JOBS = 10_000

/**
 * Stores requested captures. Rows are written before the action they announce, so that a crash
 * leaves a trace.
 */
export class JobStore {
  readonly #database: Sqlite.Database
  readonly #keptJobs: number
  readonly #insertJob: Sqlite.Statement<[JobRow]>
  readonly #upsertCapture: Sqlite.Statement<[CaptureRow]>
  readonly #trace: Sqlite.Statement<[Record<string, string | number | null>]>
  readonly #job: Sqlite.Statement<[string], JobRow>
  readonly #captures: Sqlite.Statement<[string], CaptureRow>
  readonly #capturesOf: Sqlite.Statement<[string], CaptureRow>
  readonly #page: Sqlite.Statement<[{ before: string; limit: number }], JobRow>
  readonly #countBefore: Sqlite.Statement<[{ before: string }], { jobs: number }>
  readonly #pageOf: Sqlite.Statement<[{ before: string; limit: number; namespaces: string }], JobRow>
  readonly #countBeforeOf: Sqlite.Statement<[{ before: string; namespaces: string }], { jobs: number }>
  readonly #namespaces: Sqlite.Statement<[], { namespace: string }>
  readonly #unfinished: Sqlite.Statement<[], CaptureRow>
  readonly #held: Sqlite.Statement<[], CaptureRow>
  readonly #last: Sqlite.Statement<[Record<string, string>], { checkpoint_id: string; taken_at: number }>
  readonly #ofFile: Sqlite.Statement<[{ id: string; inode: number; size: number }], CaptureRow>
  readonly #ofStaging: Sqlite.Statement<[{ job: string; id: string }], CaptureRow>
  readonly #longest: Sqlite.Statement<[], { millis: number | null }>
  readonly #any: Sqlite.Statement<[]>
  readonly #forget: Sqlite.Statement<[{ kept: number }]>

  constructor(database: Sqlite.Database, { keptJobs = KEPT_JOBS }: { readonly keptJobs?: number } = {}) {
    this.#database = database
    this.#keptJobs = keptJobs
    this.#insertJob = database.prepare(`
      INSERT INTO jobs (id, namespace, requested_by, whole_pod, reason, pin, queued_at)
      VALUES (:id, :namespace, :requested_by, :whole_pod, :reason, :pin, :queued_at)`)
    this.#upsertCapture = database.prepare(`
      INSERT INTO captures (job_id, ordinal, namespace, pod, pod_uid, container, container_id, state, started_at, finished_at,
        bytes_written, phases, staging_id, was_paused, dump_may_take_ms, published_name, published_inode,
        checkpoint_id, size_bytes, taken_at, failure, is_held)
      VALUES (:job_id, :ordinal, :namespace, :pod, :pod_uid, :container, :container_id, :state, :started_at, :finished_at,
        :bytes_written, :phases, :staging_id, :was_paused, :dump_may_take_ms, :published_name, :published_inode,
        :checkpoint_id, :size_bytes, :taken_at, :failure, :is_held)
      ON CONFLICT (job_id, ordinal) DO UPDATE SET state = excluded.state, started_at = excluded.started_at,
        finished_at = excluded.finished_at, bytes_written = excluded.bytes_written, phases = excluded.phases,
        checkpoint_id = excluded.checkpoint_id, size_bytes = excluded.size_bytes, taken_at = excluded.taken_at,
        failure = excluded.failure, is_held = excluded.is_held, published_name = coalesce(excluded.published_name, published_name)`)
    this.#trace = database.prepare(`
      UPDATE captures SET staging_id = coalesce(:staging_id, staging_id), was_paused = coalesce(:was_paused, was_paused),
        dump_may_take_ms = coalesce(:dump_may_take_ms, dump_may_take_ms),
        published_name = coalesce(:published_name, published_name), published_inode = coalesce(:published_inode, published_inode)
      WHERE job_id = :job_id AND ordinal = :ordinal`)
    this.#job = database.prepare('SELECT * FROM jobs WHERE id = ?')
    this.#captures = database.prepare('SELECT * FROM captures WHERE job_id = ? ORDER BY ordinal')
    this.#capturesOf = database.prepare(`
      SELECT * FROM captures WHERE job_id IN (SELECT value FROM json_each(?)) ORDER BY job_id, ordinal`)
    this.#page = database.prepare('SELECT * FROM jobs WHERE id < :before ORDER BY id DESC LIMIT :limit')
    this.#countBefore = database.prepare('SELECT count(*) AS jobs FROM jobs WHERE id < :before')
    const ofThese = 'namespace IN (SELECT value FROM json_each(:namespaces)) AND id < :before'
    this.#pageOf = database.prepare(`SELECT * FROM jobs WHERE ${ofThese} ORDER BY id DESC LIMIT :limit`)
    this.#countBeforeOf = database.prepare(`SELECT count(*) AS jobs FROM jobs WHERE ${ofThese}`)
    this.#namespaces = database.prepare('SELECT DISTINCT namespace FROM jobs')
    this.#unfinished = database.prepare(`
      SELECT * FROM captures WHERE state IN ('queued', 'running', 'sealing') ORDER BY job_id, ordinal`)
    this.#held = database.prepare('SELECT * FROM captures WHERE is_held = 1 ORDER BY job_id, ordinal')
    this.#last = database.prepare(`
      SELECT checkpoint_id, taken_at FROM captures
      WHERE namespace = :namespace AND pod = :pod AND container = :container AND pod_uid = :pod_uid AND state = 'succeeded'
      ORDER BY taken_at DESC LIMIT 1`)
    this.#ofFile = database.prepare(`
      SELECT * FROM captures
      WHERE checkpoint_id = :id AND published_inode = :inode AND size_bytes = :size AND state = 'succeeded' LIMIT 1`)
    this.#ofStaging = database.prepare('SELECT * FROM captures WHERE job_id = :job AND staging_id = :id')
    this.#any = database.prepare('SELECT 1 FROM captures LIMIT 1')
    this.#longest = database.prepare(`
      SELECT max(phase.value ->> 'millis') AS millis FROM captures, json_each(captures.phases) AS phase
      WHERE phase.value ->> 'name' = 'dump'`)
    this.#forget = database.prepare(`
      DELETE FROM jobs WHERE id <= (SELECT id FROM jobs ORDER BY id DESC LIMIT 1 OFFSET :kept)
        AND NOT EXISTS (SELECT 1 FROM captures WHERE job_id = jobs.id AND (is_held = 1 OR state IN ('queued', 'running', 'sealing')))`)
  }

  insert(job: CaptureJob): void {
    this.#database.transaction(() => {
      this.#insertJob.run({
        id: job.id,
        namespace: job.captures[0]?.identity.namespace ?? '',
        requested_by: job.requestedBy,
        whole_pod: Number(job.wholePod),
        reason: job.reason ?? null,
        pin: Number(job.pin),
        queued_at: job.queuedAt.getTime(),
      })
      for (const [ordinal, capture] of job.captures.entries()) this.save(job.id, ordinal, capture)
      this.#forget.run({ kept: this.#keptJobs })
    })()
  }

  /** Saves the visible state of one capture and leaves its traces unchanged. */
  save(jobId: string, ordinal: number, capture: ContainerCapture): void {
    this.#upsertCapture.run(toRow(jobId, ordinal, capture))
  }

  trace(jobId: string, ordinal: number, traces: CaptureTraces): void {
    this.#trace.run({
      job_id: jobId,
      ordinal,
      staging_id: traces.stagingId ?? null,
      was_paused: traces.wasPaused === undefined ? null : Number(traces.wasPaused),
      dump_may_take_ms: traces.dumpMayTakeMs ?? null,
      published_name: traces.publishedName ?? null,
      published_inode: traces.publishedInode ?? null,
    })
  }

  find(jobId: string): CaptureJob | undefined {
    const row = this.#job.get(jobId)
    return row === undefined ? undefined : toJob(row, this.#captures.all(row.id))
  }

  /** Lists jobs, newest first; ids sort by time. */
  list({ limit, before = '~', namespaces }: JobPage): { jobs: CaptureJob[]; remaining: number } {
    const names = namespaces && JSON.stringify(namespaces)
    const rows =
      names === undefined ? this.#page.all({ before, limit }) : this.#pageOf.all({ before, limit, namespaces: names })
    const last = rows.at(-1)?.id
    if (last === undefined) return { jobs: [], remaining: 0 }
    const counted =
      names === undefined
        ? this.#countBefore.get({ before: last })
        : this.#countBeforeOf.get({ before: last, namespaces: names })
    const captures = Map.groupBy(this.#capturesOf.all(JSON.stringify(rows.map(({ id }) => id))), ({ job_id }) => job_id)
    return { jobs: rows.map((row) => toJob(row, captures.get(row.id) ?? [])), remaining: counted?.jobs ?? 0 }
  }

  /** Lists the namespaces of all jobs. */
  namespaces(): string[] {
    return this.#namespaces.all().map(({ namespace }) => namespace)
  }

  listUnfinished(): UnfinishedCapture[] {
    return this.#withJobs(this.#unfinished.all())
  }

  /** Lists ended captures whose complete archive could not be published and is still in staging. */
  listHeld(): UnfinishedCapture[] {
    return this.#withJobs(this.#held.all())
  }

  /** Finds the capture that created this staging directory, whether it has ended or not. */
  findByStagingId(
    stagingId: string,
  ): { readonly jobId: string; readonly containerId: string; readonly dumpMayTakeMs: number | undefined } | undefined {
    const row = this.#ofStaging.get({ job: stagingId.split('-', 1)[0] ?? '', id: stagingId })
    if (row === undefined) return undefined
    return { jobId: row.job_id, containerId: row.container_id, dumpMayTakeMs: row.dump_may_take_ms ?? undefined }
  }

  findLastCheckpoint(of: {
    readonly namespace: string
    readonly pod: string
    readonly container: string
    readonly podUid: string
  }): { readonly id: string; readonly takenAt: Date } | undefined {
    const { namespace, pod, container, podUid } = of
    const row = this.#last.get({ namespace, pod, container, pod_uid: podUid })
    return row === undefined ? undefined : { id: row.checkpoint_id, takenAt: new Date(row.taken_at) }
  }

  /** Checks whether any capture is known; without one, no file needs a lookup. */
  hasCaptures(): boolean {
    return this.#any.get() !== undefined
  }

  /**
   * Finds the capture that created this file (same name, inode and size), with the reason of its
   * job.
   */
  findCaptureOf(file: {
    readonly checkpointId: string
    readonly inode: number
    readonly sizeBytes: number
  }): (ContainerCapture & { readonly reason?: string }) | undefined {
    const row = this.#ofFile.get({ id: file.checkpointId, inode: file.inode, size: file.sizeBytes })
    if (row === undefined) return undefined
    const reason = this.#job.get(row.job_id)?.reason ?? undefined
    return { ...toCapture(row), ...(reason !== undefined && { reason }) }
  }

  /** Returns the longest duration of a dump on this node; 0 before the first. */
  longestDumpMs(): number {
    return this.#longest.get()?.millis ?? 0
  }

  #withJobs(rows: readonly CaptureRow[]): UnfinishedCapture[] {
    return rows.flatMap((row) => {
      const job = this.#job.get(row.job_id)
      if (job === undefined) return []
      return [
        {
          jobId: row.job_id,
          ordinal: row.ordinal,
          pin: job.pin === 1,
          reason: job.reason ?? undefined,
          requestedBy: job.requested_by,
          capture: toCapture(row),
          traces: toTraces(row),
        },
      ]
    })
  }
}

function toJob(row: JobRow, captures: readonly CaptureRow[]): CaptureJob {
  return {
    id: row.id,
    requestedBy: row.requested_by,
    wholePod: row.whole_pod === 1,
    ...(row.reason !== null && { reason: row.reason }),
    pin: row.pin === 1,
    queuedAt: new Date(row.queued_at),
    captures: captures.map(toCapture),
  }
}

function toRow(jobId: string, ordinal: number, capture: ContainerCapture): CaptureRow {
  const { identity, archive } = capture
  return {
    job_id: jobId,
    ordinal,
    namespace: identity.namespace,
    pod: identity.pod,
    pod_uid: identity.podUid,
    container: identity.container,
    container_id: identity.containerId,
    state: capture.state,
    started_at: capture.startedAt?.getTime() ?? null,
    finished_at: capture.finishedAt?.getTime() ?? null,
    bytes_written: capture.bytesWritten,
    phases: JSON.stringify(
      capture.phases.map(({ name, startedAt, millis }) => ({ name, startedAt: startedAt.getTime(), millis })),
    ),
    staging_id: null,
    was_paused: null,
    dump_may_take_ms: null,
    published_name: archive?.fileName ?? null,
    published_inode: null,
    checkpoint_id: archive?.checkpointId ?? null,
    size_bytes: archive?.sizeBytes ?? null,
    taken_at: archive?.takenAt.getTime() ?? null,
    failure: capture.failure === undefined ? null : JSON.stringify(capture.failure),
    is_held: Number(capture.failure?.isArchiveKept ?? false),
  }
}

function toCapture(row: CaptureRow): ContainerCapture {
  return {
    identity: {
      namespace: row.namespace,
      pod: row.pod,
      podUid: row.pod_uid,
      container: row.container,
      containerId: row.container_id,
    },
    state: row.state as CaptureState,
    bytesWritten: row.bytes_written,
    phases: toPhases(row.phases),
    ...(row.started_at !== null && { startedAt: new Date(row.started_at) }),
    ...(row.finished_at !== null && { finishedAt: new Date(row.finished_at) }),
    ...(row.checkpoint_id !== null &&
      row.published_name !== null && {
        archive: {
          checkpointId: row.checkpoint_id,
          fileName: row.published_name,
          sizeBytes: row.size_bytes ?? 0,
          takenAt: new Date(row.taken_at ?? 0),
        },
      }),
    ...(row.failure !== null && { failure: JSON.parse(row.failure) as CaptureFailure }),
  }
}

function toPhases(json: string): CapturePhase[] {
  const phases = JSON.parse(json) as { name: CapturePhase['name']; startedAt: number; millis: number }[]
  return phases.map(({ name, startedAt, millis }) => ({ name, startedAt: new Date(startedAt), millis }))
}

function toTraces(row: CaptureRow): CaptureTraces {
  return {
    ...(row.staging_id !== null && { stagingId: row.staging_id }),
    ...(row.was_paused !== null && { wasPaused: row.was_paused === 1 }),
    ...(row.dump_may_take_ms !== null && { dumpMayTakeMs: row.dump_may_take_ms }),
    ...(row.published_name !== null && { publishedName: row.published_name }),
    ...(row.published_inode !== null && { publishedInode: row.published_inode }),
  }
}
