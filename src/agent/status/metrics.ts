import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { ContainerCapture } from '../../checkpoint/capture-job.ts'
import type { CustodyLogState } from '../../custody/custody-log.ts'
import { RetentionMetrics } from '../retention/retention-metrics.ts'
import type { ReaderLoss } from '../inspection/reader-child.ts'
import type { RuntimeState } from '../containers/runtime-monitor.ts'

export interface MetricsSources {
  readonly version: string
  readonly runtimeState: () => RuntimeState
  readonly captureCounts: () => { readonly running: number; readonly queued: number }
  readonly keptArchives: () => number
  readonly frozenContainers: () => number
  readonly leftoverImages: () => { readonly containers: number; readonly bytes: number }
  readonly custodyState: () => CustodyLogState
  readonly inventory: () => InventoryFigures
  readonly readers: () => ReaderFigures
}

/** Figures of all processes that read archives. */
export interface ReaderFigures {
  readonly processes: number
  readonly bytes: number
}

/** Figures of the inventory. */
export interface InventoryFigures {
  readonly byState: Readonly<Record<string, number>>
  readonly archiveBytes: number
  readonly isWatching: boolean
  readonly rescans: number
  readonly lastRescanSeconds: number | undefined
  readonly waitingForHash: number
}

/**
 * Interval that disables the distribution of event loop lag, which would wake an idle agent a hundred times a second.
 */
const NEVER_MS = 24 * 60 * 60 * 1_000
const DISTRIBUTION_OF_LAG = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'].map(
  (part) => `nodejs_eventloop_lag_${part}_seconds`,
)

/** Metrics of the agent. No label holds a name chosen by a user. */
export class AgentMetrics {
  readonly #registry = new Registry()
  readonly retention = new RetentionMetrics(this.#registry)
  readonly #captures: Counter<'outcome'>
  readonly #captureSeconds: Histogram<'phase'>
  readonly #resumed: Counter<'origin'>
  readonly #permissionRepairs: Counter<'what'>
  readonly #readersLost: Counter<'cause'>
  #ownResumed = 0
  #foreignResumed = 0

  constructor() {
    const registers = [this.#registry]
    this.#captures = new Counter({
      name: 'checkpoint_agent_captures_total',
      help: 'Captures that ended, by how they ended: succeeded, cancelled, unknown-outcome, or the code of the failure',
      labelNames: ['outcome'],
      registers,
    })
    this.#captureSeconds = new Histogram({
      name: 'checkpoint_agent_capture_phase_seconds',
      help: 'How long the phases of captures took',
      labelNames: ['phase'],
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
      registers,
    })
    this.#resumed = new Counter({
      name: 'checkpoint_agent_containers_resumed_total',
      help: 'Containers found frozen and resumed: left by a capture of this agent (own) or by somebody else (foreign)',
      labelNames: ['origin'],
      registers,
    })
    this.#permissionRepairs = new Counter({
      name: 'checkpoint_agent_permission_repairs_total',
      help: 'Rights of others that were taken away: on an archive, on the checkpoint directory, on the index',
      labelNames: ['what'],
      registers,
    })
    this.#readersLost = new Counter({
      name: 'checkpoint_agent_readers_lost_total',
      help: 'Processes reading archives that ended before they were sent away: they took too much (memory, cpu) or too much beside others (room), died of an archive (itself), were ended by somebody else (elsewhere), or never became ready (start)',
      labelNames: ['cause'],
      registers,
    })
    for (const cause of ['memory', 'cpu', 'room', 'itself', 'elsewhere', 'start']) this.#readersLost.inc({ cause }, 0)
    for (const what of ['archive', 'directory', 'index']) this.#permissionRepairs.inc({ what }, 0)
    this.#resumed.inc({ origin: 'own' }, 0)
    this.#resumed.inc({ origin: 'foreign' }, 0)
  }

  /** Registers the gauges, which are read at each scrape. */
  observe(sources: MetricsSources): void {
    const { version, runtimeState, captureCounts, keptArchives, frozenContainers, leftoverImages } = sources
    const { custodyState, inventory, readers } = sources
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: NEVER_MS })
    for (const name of DISTRIBUTION_OF_LAG) this.#registry.removeSingleMetric(name)
    new Gauge({
      name: 'checkpoint_agent_info',
      help: 'Version of the agent',
      labelNames: ['version'],
      registers: [this.#registry],
    }).set({ version }, 1)
    this.#gauge('checkpoint_agent_captures_running', 'Captures under way', () => captureCounts().running)
    this.#gauge('checkpoint_agent_captures_queued', 'Captures that wait', () => captureCounts().queued)
    this.#gauge(
      'checkpoint_agent_unpublished_archives',
      'Whole archives that could not be published and are kept in the staging directory',
      keptArchives,
    )
    this.#gauge(
      'checkpoint_agent_containers_frozen',
      'Containers that somebody else left frozen for longer than any dump',
      frozenContainers,
    )
    this.#gauge(
      'checkpoint_agent_leftover_images_containers',
      'Containers whose memory images a failed checkpoint left on the disk of the node',
      () => leftoverImages().containers,
    )
    this.#gauge(
      'checkpoint_agent_leftover_images_bytes',
      'Size of the memory images that failed checkpoints left on the disk of the node',
      () => leftoverImages().bytes,
    )
    this.#gauge('checkpoint_agent_custody_bytes', 'Size of the custody log', () => custodyState().sizeBytes)
    this.#gauge('checkpoint_agent_custody_max_bytes', 'custody.maxSize', () => custodyState().maxBytes)
    this.#gauge('checkpoint_agent_custody_writable', 'Whether the custody log can be written', () =>
      Number(custodyState().error === undefined),
    )
    this.#gauge(
      'checkpoint_agent_custody_lost_entries',
      'Entries that could not be kept until the disk was well again',
      () => custodyState().lostEntries,
    )
    this.#gauge('checkpoint_agent_runtime_up', 'Whether the container runtime answers', () =>
      Number(runtimeState().error === undefined),
    )
    this.#gauge('checkpoint_agent_can_checkpoint', 'Whether the runtime can checkpoint: 1 yes, 0 no or unknown', () =>
      Number(runtimeState().ability.state === 'yes'),
    )
    this.#observeInventory(inventory)
    this.#gauge(
      'checkpoint_agent_readers',
      'Processes that read archives, idle ones included',
      () => readers().processes,
    )
    this.#gauge(
      'checkpoint_agent_readers_memory_bytes',
      'Memory of these processes, what they share counted once',
      () => readers().bytes,
    )
  }

  countCapture(capture: ContainerCapture): void {
    this.#captures.inc({ outcome: capture.state === 'failed' ? (capture.failure?.code ?? 'failed') : capture.state })
    for (const { name, millis } of capture.phases) this.#captureSeconds.observe({ phase: name }, millis / 1000)
  }

  countResumed(origin: 'own' | 'foreign'): void {
    if (origin === 'own') this.#ownResumed += 1
    else this.#foreignResumed += 1
    this.#resumed.inc({ origin })
  }

  countPermissionRepair(what: 'archive' | 'directory' | 'index'): void {
    this.#permissionRepairs.inc({ what })
  }

  countReaderLost(cause: ReaderLoss): void {
    this.#readersLost.inc({ cause })
  }

  get resumed(): { readonly own: number; readonly foreign: number } {
    return { own: this.#ownResumed, foreign: this.#foreignResumed }
  }

  async render(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() }
  }

  #observeInventory(read: () => InventoryFigures): void {
    const byState = new Gauge({
      name: 'checkpoint_agent_checkpoints',
      help: 'Archives in the checkpoint directory, by state',
      labelNames: ['state'],
      registers: [],
      collect() {
        byState.reset()
        for (const [state, count] of Object.entries(read().byState)) byState.set({ state }, count)
      },
    })
    this.#registry.registerMetric(byState)
    this.#gauge('checkpoint_agent_checkpoint_bytes', 'Size of all archives together', () => read().archiveBytes)
    this.#gauge(
      'checkpoint_agent_directory_watch_up',
      'Whether the kernel tells of changes in the directory; if not, archives are found by the rescan only',
      () => Number(read().isWatching),
    )
    this.#gauge(
      'checkpoint_agent_hash_queue_length',
      'Archives that wait for their digest',
      () => read().waitingForHash,
    )
    this.#gauge(
      'checkpoint_agent_rescan_duration_seconds',
      'How long the last scan of the whole directory took',
      () => read().lastRescanSeconds ?? 0,
    )
    const rescans = new Counter({
      name: 'checkpoint_agent_rescans_total',
      help: 'How often the whole directory was looked at',
      registers: [this.#registry],
      collect() {
        rescans.reset()
        rescans.inc(read().rescans)
      },
    })
  }

  #gauge(name: string, help: string, read: () => number): void {
    const gauge = new Gauge({
      name,
      help,
      registers: [],
      collect() {
        gauge.set(read())
      },
    })
    this.#registry.registerMetric(gauge)
  }
}
