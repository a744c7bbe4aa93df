import { errorText } from '../../shared/errors.ts'
import { PollLoop } from '../../shared/poll-loop.ts'
import type { Logger } from '../../shared/logger.ts'
import type { FreezeControl } from '../../runtime/freeze-control.ts'
import { RecordedResume, type RecordResume } from '../../runtime/recorded-resume.ts'
import type { NodeContainer } from './node-containers.ts'

export interface ForeignFreezesOptions {
  readonly listAlive: () => Promise<readonly NodeContainer[]>
  readonly control: Pick<FreezeControl, 'look' | 'resume'>
  /** Returns whether this agent captures or winds down the container. */
  readonly isOurs: (containerId: string) => boolean
  readonly policy: 'report' | 'resume'
  readonly intervalMs: number
  /** Minimum duration. A shorter pause may be a dump by another client. */
  readonly afterMs: number
  /** Duration of the longest dump that this node has seen. */
  readonly longestDumpMs: () => number
  readonly onResumed: () => void
  /** Called before and after each resume. */
  readonly record?: RecordResume
  readonly logger: Logger
}

export interface FrozenContainer {
  readonly container: NodeContainer
  readonly seenSince: Date
}

/** Interval while freezes cannot be seen, so that a runtime that is starting is noticed soon. */
const BLIND_INTERVAL_MS = 5_000

/** Multiple of the longest dump. A longer pause is not a dump. */
const LONGEST_DUMP_FACTOR = 2

/**
 * Checks every container of the node at intervals and reports the frozen ones. The kubelet leaves a container frozen
 * for good if its deadline passes during a dump, and Kubernetes still shows it as Running and Ready.
 */
export class ForeignFreezes {
  readonly #options: ForeignFreezesOptions
  readonly #pausedSince = new Map<string, number>()
  readonly #resumes = new Map<string, RecordedResume>()
  readonly #loop: PollLoop
  #frozen = new Map<string, FrozenContainer>()
  #canLook = false

  constructor(options: ForeignFreezesOptions) {
    this.#options = options
    const { intervalMs, logger } = options
    this.#loop = new PollLoop({
      poll: () =>
        this.lookOnce().catch((error: unknown) => {
          this.#canLook = false
          logger.debug({ error: errorText(error) }, 'Cannot look at the containers of the node')
        }),
      intervalMs: () => (this.#canLook ? intervalMs : Math.min(intervalMs, BLIND_INTERVAL_MS)),
    })
  }

  /** Containers that have been paused for longer than any dump and were not resumed. */
  get frozen(): readonly FrozenContainer[] {
    return [...this.#frozen.values()]
  }

  /**
   * Whether freezes can be seen. False until a check has seen a container or that there is none, and while all checks
   * fail.
   */
  get canLook(): boolean {
    return this.#canLook
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
  }

  async lookOnce(): Promise<void> {
    const { listAlive, control, isOurs, logger } = this.#options
    const containers = await listAlive()
    const present = new Set(containers.map(({ identity }) => identity.containerId))
    for (const id of this.#pausedSince.keys()) if (!present.has(id)) this.#forget(id)
    let looks = 0
    let unknown = 0
    for (const container of containers) {
      const id = container.identity.containerId
      if (this.#loop.signal.aborted) return
      if (isOurs(id)) {
        this.#forget(id)
        continue
      }
      looks += 1
      const state = await control.look(id).catch((error: unknown) => {
        logger.debug({ containerId: id, error: errorText(error) }, 'Cannot see whether a container is frozen')
        return 'unknown' as const
      })
      if (state === 'frozen' && !isOurs(id)) await this.#judge(container)
      else if (state !== 'unknown') this.#forget(id)
      else unknown += 1
    }
    // If all containers belong to this agent now, the check has shown nothing.
    if (looks > 0 || containers.length === 0) this.#canLook = looks === 0 || unknown < looks
  }

  async #judge(container: NodeContainer): Promise<void> {
    const { policy, logger, onResumed } = this.#options
    const { containerId } = container.identity
    const since = this.#pausedSince.get(containerId) ?? performance.now()
    this.#pausedSince.set(containerId, since)
    if (performance.now() - since < this.#patienceMs()) return
    const fields = { ...container.identity, frozenForSeconds: Math.round((performance.now() - since) / 1000) }
    if (policy === 'resume') {
      try {
        await this.#resumeOf(container).attempt(performance.now() - since)
        logger.warn(fields, 'Resumed a container that somebody else had left frozen')
        onResumed()
        this.#forget(containerId)
        return
      } catch (error) {
        logger.error({ ...fields, error: errorText(error) }, 'Cannot resume a container that somebody else left frozen')
      }
    }
    if (this.#frozen.has(containerId)) return
    this.#frozen.set(containerId, { container, seenSince: new Date(Date.now() - (performance.now() - since)) })
    logger.warn(
      {
        ...fields,
        hint: "Kubernetes shows it as running. Resume it with the runtime's own tool (containerd: ctr -n k8s.io tasks resume ID; CRI-O: curl --unix-socket /run/crio/crio.sock http://localhost/unpause/ID), or set freezeGuard.foreign: resume.",
      },
      'A container is frozen, and not by this agent',
    )
  }

  /** Returns the resume of the current pause, so that repeated attempts are recorded once. */
  #resumeOf({ identity }: NodeContainer): RecordedResume {
    const { control, record = () => {} } = this.#options
    const { containerId } = identity
    const known = this.#resumes.get(containerId)
    if (known !== undefined) return known
    const reason = 'somebody else left the container frozen, and freezeGuard.foreign is resume'
    const about = { identity: { ...identity } }
    const resume = new RecordedResume({ control, record, containerId, origin: 'foreign', reason, about })
    this.#resumes.set(containerId, resume)
    return resume
  }

  #patienceMs(): number {
    const { afterMs, longestDumpMs } = this.#options
    return Math.max(afterMs, LONGEST_DUMP_FACTOR * longestDumpMs())
  }

  #forget(containerId: string): void {
    this.#pausedSince.delete(containerId)
    this.#resumes.delete(containerId)
    this.#frozen.delete(containerId)
  }
}
