import type Sqlite from 'better-sqlite3'
import type { MemberList } from '../archive/member-list.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { DsseEnvelope } from '../custody/dsse.ts'
import type { CheckpointServices } from '../http/checkpoint-services.ts'
import type { HealthCheck, NodeStatus, RunningLook } from '../http/node-services.ts'
import type { CheckpointQuery } from '../store/checkpoint-query.ts'
import type { CheckpointStore } from '../store/checkpoint-store.ts'
import type { CheckpointActions } from './actions/checkpoint-actions.ts'
import type { Admission } from './admission/admission.ts'
import type { AgentOptions, AgentReader } from './agent-options.ts'
import type { Captures } from './capture/captures.ts'
import type { ForeignFreezes } from './containers/foreign-freezes.ts'
import type { LeftoverImageWatch } from './containers/leftover-images.ts'
import type { RunningContainers } from './containers/running-containers.ts'
import type { RuntimeMonitor } from './containers/runtime-monitor.ts'
import type { Contents } from './content/contents.ts'
import type { Custody } from './custody/custody.ts'
import { signManifest } from './custody/manifest.ts'
import type { PrivacyKeeper } from './directory/privacy-keeper.ts'
import type { Staging } from './directory/staging.ts'
import { listArchiveMembers } from './inventory/archive-members.ts'
import type { Inventory } from './inventory/inventory.ts'
import type { PendingRefreshes } from './inventory/pending-refreshes.ts'
import type { KubeletEndpoint } from './kubelet/kubelet-endpoint.ts'
import type { Retention } from './retention/retention.ts'
import { checkHealth } from './status/health.ts'
import type { AgentMetrics } from './status/metrics.ts'
import type { NodeEvents } from './status/node-events.ts'
import { describeNode } from './status/node-status.ts'

/** Parts of a running agent, as `startAgent` builds them. */
export interface AgentParts {
  readonly options: AgentOptions
  readonly actions: CheckpointActions
  readonly admission: Admission
  readonly captures: Captures
  readonly checkpoints: CheckpointStore
  readonly contents: Contents
  readonly custody: Custody
  readonly database: Sqlite.Database
  readonly events: NodeEvents
  readonly foreign: ForeignFreezes
  readonly inventory: Inventory
  readonly kubelet: KubeletEndpoint
  readonly leftovers: LeftoverImageWatch
  readonly metrics: AgentMetrics
  readonly monitor: RuntimeMonitor
  readonly pendingRefreshes: PendingRefreshes
  readonly privacy: PrivacyKeeper
  readonly reader: AgentReader
  readonly retention: Retention
  readonly running: RunningContainers
  readonly staging: Staging
  /** Releases all parts in the right order. */
  readonly resources: AsyncDisposable
}

/** A running agent without its listeners: the services of its API and the description of the node. */
export class Agent {
  readonly actions: CheckpointActions
  readonly captures: Captures
  readonly contents: Contents
  readonly custody: Custody
  readonly kubelet: KubeletEndpoint
  readonly metrics: AgentMetrics
  readonly retention: Retention
  readonly #parts: AgentParts

  constructor(parts: AgentParts) {
    this.#parts = parts
    this.actions = parts.actions
    this.captures = parts.captures
    this.contents = parts.contents
    this.custody = parts.custody
    this.kubelet = parts.kubelet
    this.metrics = parts.metrics
    this.retention = parts.retention
  }

  /** Services for the archives in the directory. */
  get checkpoints() {
    const { checkpoints, pendingRefreshes, admission, reader, events } = this.#parts
    return {
      list: async (query: CheckpointQuery) => {
        await pendingRefreshes.ended()
        return checkpoints.list(query)
      },
      get: async (id: string): Promise<Checkpoint> => {
        await pendingRefreshes.ended()
        return checkpoints.get(id)
      },
      namespaces: () => checkpoints.namespaces(),
      members: (checkpoint, { user, ...page }): Promise<MemberList> =>
        admission.inspections.run(user, page.signal, () => listArchiveMembers(checkpoint, page, reader)),
      watch: (lastEventId, onEvent) => events.watch(lastEventId, onEvent),
    } satisfies CheckpointServices
  }

  async status(tlsFingerprint: string | undefined): Promise<NodeStatus> {
    const { options, checkpoints, captures, custody, foreign, leftovers, metrics, monitor, pendingRefreshes, staging } =
      this.#parts
    await pendingRefreshes.ended()
    return await describeNode({
      node: options.nodeName,
      agentVersion: options.version,
      checkpointsDirectory: options.checkpointsDirectory,
      diskFloor: options.capture.diskFloor,
      runtime: () => monitor.freshState(),
      archives: { byState: checkpoints.countByState(), bytes: checkpoints.totalBytes() },
      captures: { ...captures.counts, unpublished: staging.keptCount },
      freezeGuard: {
        policy: options.freezeGuard.foreign,
        frozenNow: foreign.frozen.length,
        resumedTotal: metrics.resumed.own,
        foreignResumedTotal: metrics.resumed.foreign,
        canLook: foreign.canLook,
      },
      leftoverImages: leftovers.found,
      custody: { keyId: custody.key.id, publicKey: custody.key.publicKey },
      tlsFingerprint,
    })
  }

  lookAtRunning(): Promise<RunningLook> {
    return this.#parts.running.look()
  }

  health(): readonly HealthCheck[] {
    const { custody, database, foreign, inventory, monitor, privacy, staging } = this.#parts
    return checkHealth({
      runtime: monitor.state,
      staging,
      database,
      frozenContainers: foreign.frozen.length,
      canSeeFreezes: foreign.canLook,
      watchError: inventory.watchError,
      isIndexGone: privacy.isIndexGone,
      custody: custody.state,
    })
  }

  /**
   * Signs the manifest that is sent with the archive of a checkpoint. The caller must be authorized to read that
   * archive.
   */
  manifest(checkpoint: Checkpoint): DsseEnvelope {
    const { options, custody, monitor } = this.#parts
    return signManifest(checkpoint, {
      custody,
      node: options.nodeName,
      agentVersion: options.version,
      runtimeVersion: () => monitor.state.version,
      clock: options.clock,
    })
  }

  /** Checks the permissions of the directories now, without waiting for the next interval. */
  checkPermissions(): void {
    this.#parts.privacy.lookOnce()
  }

  /** Releases all resources. Captures must have been shut down before. */
  async stop(): Promise<void> {
    await this.#parts.resources[Symbol.asyncDispose]()
  }
}
