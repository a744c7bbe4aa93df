import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { ContainerCapture } from '../checkpoint/capture-job.ts'
import type { RuntimeState } from './runtime-monitor.ts'

export interface MetricsSources {
  readonly version: string
  readonly runtimeState: () => RuntimeState
  readonly captureCounts: () => { readonly running: number; readonly queued: number }
  readonly frozenContainers: () => number
}

/** What is counted. No label holds a name that somebody else chose. */
export class AgentMetrics {
  readonly #registry = new Registry()
  readonly #captures: Counter<'outcome'>
  readonly #captureSeconds: Histogram<'phase'>
  readonly #resumed: Counter<'origin'>
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
    this.#resumed.inc({ origin: 'own' }, 0)
    this.#resumed.inc({ origin: 'foreign' }, 0)
  }

  /** Gauges are read when they are asked for. */
  observe({ version, runtimeState, captureCounts, frozenContainers }: MetricsSources): void {
    collectDefaultMetrics({ register: this.#registry })
    new Gauge({
      name: 'checkpoint_agent_info',
      help: 'Version of the agent',
      labelNames: ['version'],
      registers: [this.#registry],
    }).set({ version }, 1)
    this.#gauge('checkpoint_agent_captures_running', 'Captures under way', () => captureCounts().running)
    this.#gauge('checkpoint_agent_captures_queued', 'Captures that wait', () => captureCounts().queued)
    this.#gauge(
      'checkpoint_agent_containers_frozen',
      'Containers that somebody else left frozen for longer than any dump',
      frozenContainers,
    )
    this.#gauge('checkpoint_agent_runtime_up', 'Whether the container runtime answers', () =>
      Number(runtimeState().trouble === undefined),
    )
    this.#gauge('checkpoint_agent_can_checkpoint', 'Whether the runtime can checkpoint: 1 yes, 0 no or unknown', () =>
      Number(runtimeState().ability.state === 'yes'),
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

  get resumed(): { readonly own: number; readonly foreign: number } {
    return { own: this.#ownResumed, foreign: this.#foreignResumed }
  }

  async render(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() }
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
