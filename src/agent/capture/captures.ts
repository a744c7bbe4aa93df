import type { CaptureRequest, CaptureServices } from '../../http/capture-services.ts'
import { monotonicFactory } from 'ulid'
import { jobState, type CaptureFailure, type CaptureJob, type ContainerCapture } from '../../checkpoint/capture-job.ts'
import type { ContainerIdentity } from '../../checkpoint/identity.ts'
import type { ContainerUsage } from '../../runtime/container-runtime.ts'
import type { FreezeState } from '../../runtime/freeze-control.ts'
import { ConflictError, errorText, NotFoundError, UnavailableError } from '../../shared/errors.ts'
import { failPoint } from '../../shared/fail-point.ts'
import { SharedLooks } from '../../shared/shared-looks.ts'
import type { JobPage, JobStore } from '../../store/job-store.ts'
import type { Actor } from '../../checkpoint/actor.ts'
import type { ContainerFacts } from '../custody/capture-custody.ts'
import type { NodeContainer, NodeView } from '../containers/node-containers.ts'
import { admit, type Admission, type AdmissionTools } from './admission.ts'
import { CANCELLED, SHUT_DOWN, TIMED_OUT } from './capture-failure.ts'
import type { CaptureQueue } from './capture-queue.ts'
import { CaptureRecord } from './capture-record.ts'
import { runCapture, type CaptureTools } from './capture-run.ts'

export interface CapturesOptions {
  readonly store: JobStore
  readonly tools: CaptureTools
  readonly queue: CaptureQueue
  /** The agent's own limit for one capture. The call to the runtime has no limit. */
  readonly maxDurationMs: number
  readonly onEnd?: (capture: ContainerCapture) => void
  readonly events?: CaptureEvents
}

/** Events of a job under way. Each carries the job as it is at that time. */
export interface CaptureEvents {
  readonly emitCapture: (job: CaptureJob) => void
  readonly emitProgress: (job: CaptureJob) => void
}

/** State of the node just before a capture is requested. */
export interface NodeSnapshot {
  readonly view: NodeView
  /**
   * Queries about the container that were sent early, by its previous ID. Their answers are not used if the ID has
   * changed.
   */
  readonly ahead: AskedAhead | undefined
}

interface AskedAhead {
  readonly containerId: string
  readonly usage: Promise<Usage>
  /** Used once: a second check needs a new answer. */
  freeze: Promise<FreezeState> | undefined
}

type Usage = ReadonlyMap<string, ContainerUsage>

interface Selected {
  readonly identity: ContainerIdentity
  readonly facts: ContainerFacts
  /** Undefined if another capture of the container is under way. The container is then checked when its turn comes. */
  readonly admission: Admission | undefined
}

interface ActiveJob {
  readonly head: Omit<CaptureJob, 'captures'>
  readonly actor: Actor
  readonly records: readonly CaptureRecord[]
  readonly selected: readonly Selected[]
  readonly abort: AbortController
  readonly done: PromiseWithResolvers<void>
  /** Time of the last event, on the monotonic clock. */
  toldAt: number
}

/** Minimum interval between progress events. */
const PROGRESS_MS = 500

/** Admits, queues, runs, cancels and stores every capture of the node. */
export class Captures implements CaptureServices {
  readonly #store: JobStore
  readonly #tools: CaptureTools
  readonly #queue: CaptureQueue
  readonly #maxDurationMs: number
  readonly #onEnd: (capture: ContainerCapture) => void
  readonly #events: CaptureEvents | undefined
  readonly #active = new Map<string, ActiveJob>()
  readonly #usageLooks: SharedLooks<string, Usage>
  readonly #freezeLooks: SharedLooks<string, FreezeState>
  /** Creates IDs that increase even within one millisecond and when the clock steps back, because lists page by ID. */
  readonly #newUlid = monotonicFactory()

  constructor({ store, tools, queue, maxDurationMs, onEnd, events }: CapturesOptions) {
    this.#store = store
    this.#tools = tools
    this.#queue = queue
    this.#maxDurationMs = maxDurationMs
    this.#onEnd = onEnd ?? (() => {})
    this.#events = events
    const { runtime, freezeControl } = tools
    this.#usageLooks = new SharedLooks((id) => runtime.listUsage(id))
    this.#freezeLooks = new SharedLooks((id) => freezeControl.look(id))
  }

  get counts(): { readonly running: number; readonly queued: number; readonly queueLimit: number } {
    return this.#queue.counts
  }

  /**
   * Reads the state of the node before a request. Meanwhile sends the queries about this container that are needed in
   * any case.
   */
  async look(target: Pick<CaptureRequest, 'namespace' | 'pod' | 'container'>): Promise<NodeSnapshot> {
    this.#tools.stagedCheck.warm?.()
    const ahead = this.#askAhead(target)
    return { view: await this.#tools.containers.read(), ahead }
  }

  /** Requests a capture. Refuses if one of the containers is already being captured. */
  async request(wish: CaptureRequest): Promise<CaptureJob> {
    this.#queue.assertRoom([])
    const sighting = await this.look(wish)
    const selected = sighting.view.select(wish)
    this.#assertNoneInFlight(selected)
    const admitted = await this.#admit(selected, wish, sighting)
    this.#assertNoneInFlight(selected)
    return this.#begin(wish, admitted)
  }

  /**
   * Requests a capture that queues behind another of the same container. Callers that have just read the state of the
   * node pass it as `seen`.
   */
  async requestBehind(wish: CaptureRequest, seen?: NodeSnapshot): Promise<CaptureJob> {
    this.#queue.assertRoom([])
    const sighting = seen ?? (await this.look(wish))
    return this.#begin(wish, await this.#admit(sighting.view.select(wish), wish, sighting))
  }

  async wait(
    jobId: string,
    { timeoutMs, signal }: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<CaptureJob> {
    const active = this.#active.get(jobId)
    if (active === undefined) return this.get(jobId)
    await firstOf(active.done.promise, { timeoutMs, signal })
    return snapshot(active)
  }

  get(jobId: string): CaptureJob {
    const active = this.#active.get(jobId)
    const job = active === undefined ? this.#store.find(jobId) : snapshot(active)
    if (job !== undefined) return job
    throw new NotFoundError(`Cannot find capture "${jobId}"`, {
      code: 'CaptureNotFound',
      hint: 'See the captures of this node with GET /v1/captures; old ones are forgotten.',
    })
  }

  list(page: JobPage): { readonly jobs: readonly CaptureJob[]; readonly remaining: number } {
    const { jobs, remaining } = this.#store.list(page)
    return { jobs: jobs.map((job) => this.#current(job)), remaining }
  }

  /** Returns each namespace of a job once. */
  namespaces(): readonly string[] {
    return this.#store.namespaces()
  }

  /** Returns the job that waits for or works on this container. */
  findInFlight(containerId: string): string | undefined {
    return this.#queue.findJob(containerId)
  }

  async cancel(jobId: string): Promise<CaptureJob> {
    const active = this.#active.get(jobId)
    if (active === undefined) {
      const job = this.get(jobId)
      throw new ConflictError(`Cannot cancel capture "${jobId}": it has ended already`, {
        code: 'CaptureFinished',
        hint: `Its state is "${jobState(job)}".`,
      })
    }
    this.#stop(active, CANCELLED)
    await active.done.promise
    return this.get(jobId)
  }

  /** Keeps other captures off a container that an earlier run of the agent left behind. */
  hold(containerId: string, jobId: string, until: Promise<unknown>): void {
    this.#queue.hold(containerId, jobId, until)
  }

  /** Starts no more captures, waits for running ones, and cancels the rest after the grace period. */
  async shutDown(graceMs: number): Promise<void> {
    for (const { jobId } of this.#queue.close()) {
      const active = this.#active.get(jobId)
      if (active !== undefined) this.#endUnstarted(active, SHUT_DOWN)
    }
    const running = () => [...this.#active.values()].map(({ done }) => done.promise)
    await firstOf(Promise.all(running()), { timeoutMs: graceMs })
    for (const active of this.#active.values()) active.abort.abort(SHUT_DOWN)
    await Promise.all(running())
  }

  #askAhead({
    namespace,
    pod,
    container = '',
  }: Pick<CaptureRequest, 'namespace' | 'pod' | 'container'>): NodeSnapshot['ahead'] {
    const seen = this.#tools.containers.lastView?.findRunning(namespace, pod, container)
    if (seen === undefined || this.#queue.findJob(seen.identity.containerId) !== undefined) return undefined
    const { containerId } = seen.identity
    const [usage, freeze] = [this.#usageLooks.look(containerId), this.#freezeLooks.look(containerId)]
    // Prevents unhandled rejections, since the answers may never be used.
    for (const look of [usage, freeze]) look.catch(() => undefined)
    return { containerId, usage, freeze }
  }

  #assertNoneInFlight(selected: readonly NodeContainer[]): void {
    for (const { identity } of selected) {
      const job = this.#queue.findJob(identity.containerId)
      if (job !== undefined) throw inFlight(identity, job)
    }
  }

  async #admit(
    containers: readonly NodeContainer[],
    { pin = false }: CaptureRequest,
    sighting: NodeSnapshot,
  ): Promise<readonly Selected[]> {
    const tools = this.#admissionTools(sighting)
    return await Promise.all(
      containers.map(async (container) => {
        const { identity } = container
        const mustWait = this.#queue.findJob(identity.containerId) !== undefined
        const admission = mustWait ? undefined : await admit({ identity, pin }, tools)
        return { identity, facts: factsOf(container), admission }
      }),
    )
  }

  /**
   * Shares queries to the runtime between concurrent callers, so that many callers cause few queries. The deadline of
   * each query starts when the query is sent.
   */
  #admissionTools({ ahead }: NodeSnapshot): AdmissionTools {
    const takeFreeze = (id: string) => {
      if (ahead?.containerId !== id) return undefined
      const { freeze } = ahead
      ahead.freeze = undefined
      return freeze
    }
    return {
      ...this.#tools,
      runtime: {
        listUsage: (id = '') => (ahead?.containerId === id ? ahead.usage : this.#usageLooks.look(id)),
      },
      freezeControl: { ...this.#tools.freezeControl, look: (id) => takeFreeze(id) ?? this.#freezeLooks.look(id) },
    }
  }

  #begin(wish: CaptureRequest, selected: readonly Selected[]): CaptureJob {
    const { store, clock, logger } = { store: this.#store, ...this.#tools }
    const containerIds = selected.map(({ identity }) => identity.containerId)
    this.#queue.assertRoom(containerIds)
    const head = {
      id: this.#newUlid(clock.now().getTime()),
      requestedBy: wish.requestedBy,
      wholePod: wish.container === undefined,
      ...(wish.reason !== undefined && { reason: wish.reason }),
      pin: wish.pin ?? false,
      queuedAt: clock.now(),
    }
    const records = selected.map(({ identity }, ordinal) => {
      const capture: ContainerCapture = { identity, state: 'queued', bytesWritten: 0, phases: [] }
      const onChange = (what: 'state' | 'bytes') => {
        this.#tell(active, what)
      }
      return new CaptureRecord({ jobId: head.id, ordinal, capture, store, clock, logger, onChange })
    })
    const actor = wish.actor ?? { user: wish.requestedBy, groups: [] }
    const active: ActiveJob = {
      head,
      actor,
      records,
      selected,
      abort: new AbortController(),
      done: Promise.withResolvers<void>(),
      toldAt: Number.NEGATIVE_INFINITY,
    }
    this.#insert(snapshot(active))
    failPoint('capture.queued')
    this.#active.set(head.id, active)
    this.#tell(active, 'state')
    this.#queue.enqueue({ jobId: head.id, containerIds, run: () => this.#run(active) })
    return snapshot(active)
  }

  #tell(active: ActiveJob, what: 'state' | 'bytes'): void {
    const now = performance.now()
    if (what === 'bytes' && now - active.toldAt < PROGRESS_MS) return
    active.toldAt = now
    if (what === 'state') this.#events?.emitCapture(snapshot(active))
    else this.#events?.emitProgress(snapshot(active))
  }

  #insert(job: CaptureJob): void {
    try {
      this.#store.insert(job)
    } catch (error) {
      throw new UnavailableError(`Cannot take a checkpoint: the index cannot be written: ${errorText(error)}`, {
        code: 'StateUnavailable',
        hint: 'See that the disk of state.directory has free space and is writable.',
        cause: error,
      })
    }
  }

  async #run(active: ActiveJob): Promise<void> {
    const { head, records, selected, abort } = active
    for (const [ordinal, { admission, facts }] of selected.entries()) {
      const record = records[ordinal]
      if (record === undefined) continue
      const limit = setTimeout(() => {
        limited.abort(TIMED_OUT)
      }, this.#maxDurationMs)
      const limited = new AbortController()
      const signal = AbortSignal.any([abort.signal, limited.signal])
      await runCapture(
        record,
        {
          admission,
          facts,
          stagingId: `${head.id}-${record.ordinal}`,
          pin: head.pin,
          reason: head.reason,
          requestedBy: head.requestedBy,
          actor: active.actor,
          signal,
          holdUntil: (settled) => {
            this.#queue.hold(record.capture.identity.containerId, head.id, settled)
          },
        },
        this.#tools,
      )
      clearTimeout(limit)
      record.showEnd()
      this.#onEnd(record.capture)
    }
    this.#finish(active)
  }

  #stop(active: ActiveJob, failure: CaptureFailure): void {
    if (this.#queue.remove(active.head.id)) this.#endUnstarted(active, failure)
    else active.abort.abort(failure)
  }

  #endUnstarted(active: ActiveJob, failure: CaptureFailure): void {
    for (const record of active.records) {
      record.end('cancelled', failure)
      record.showEnd()
      this.#onEnd(record.capture)
    }
    this.#finish(active)
  }

  #finish(active: ActiveJob): void {
    this.#active.delete(active.head.id)
    active.done.resolve()
  }

  #current(job: CaptureJob): CaptureJob {
    const active = this.#active.get(job.id)
    return active === undefined ? job : snapshot(active)
  }
}

/** Returns facts that stay the same for the lifetime of the container. */
function factsOf({ image, imageReference, podLabels }: NodeContainer): ContainerFacts {
  return {
    image,
    ...(imageReference !== undefined && { imageReference }),
    ...(podLabels !== undefined && { podLabels: { ...podLabels } }),
  }
}

/** Returns the job from memory. While a job is active, its rows in the store may be older. */
function snapshot({ head, records }: ActiveJob): CaptureJob {
  return { ...head, captures: records.map(({ capture }) => capture) }
}

function inFlight(
  identity: { readonly namespace: string; readonly pod: string; readonly container: string },
  job: string,
): ConflictError {
  const name = `${identity.namespace}/${identity.pod}/${identity.container}`
  return new ConflictError(`Cannot checkpoint "${name}": a capture of it is under way`, {
    code: 'CaptureInFlight',
    hint: `Wait for it with GET /v1/captures/${job}, or ask again when it has ended.`,
    extra: { job },
  })
}

/** Resolves at the first of these: the promise settles, the time is up, the signal aborts. */
async function firstOf(
  promise: Promise<unknown>,
  { timeoutMs, signal }: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const over = Promise.withResolvers<void>()
  const timer = timeoutMs === undefined ? undefined : setTimeout(over.resolve, timeoutMs)
  signal?.addEventListener('abort', () => over.resolve(), { once: true })
  if (signal?.aborted === true) over.resolve()
  await Promise.race([promise, over.promise])
  clearTimeout(timer)
}
