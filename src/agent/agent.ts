import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { HealthCheck, NodeStatus, RunningLook } from '../http/node-services.ts'
import type { CheckpointPage, CheckpointQuery } from '../store/checkpoint-query.ts'
import type Sqlite from 'better-sqlite3'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { createFreezeControl } from '../runtime/freeze-control.ts'
import { CriClient } from '../runtime/cri-client.ts'
import { findSocket } from '../runtime/find-socket.ts'
import { FreezeGuard } from '../runtime/freeze-guard.ts'
import { errorText } from '../shared/errors.ts'
import type { DsseEnvelope } from '../custody/dsse.ts'
import { CheckpointStore } from '../store/checkpoint-store.ts'
import { makePrivateFolder, openDatabase } from '../store/database.ts'
import { JobStore } from '../store/job-store.ts'
import { Admission } from './admission/admission.ts'
import type { AgentOptions } from './agent-options.ts'
import { Captures } from './capture/captures.ts'
import type { CaptureTools } from './capture/capture-run.ts'
import { recoverCaptures } from './capture/recovery.ts'
import { readerCheck } from './capture/staged-check.ts'
import { CheckpointActions } from './actions/checkpoint-actions.ts'
import { Contents } from './content/contents.ts'
import { captureCustody } from './custody/capture-custody.ts'
import { recordResume } from './custody/freeze-custody.ts'
import { ContentCustody } from './custody/content-custody.ts'
import { Custody } from './custody/custody.ts'
import { recordInventoryChange } from './custody/inventory-custody.ts'
import { signManifest } from './custody/manifest.ts'
import { recordMissedOutcomes } from './custody/missed-outcomes.ts'
import { lockDirectories, type DirectoryLock } from './directory/directory-lock.ts'
import { ForeignFreezes } from './containers/foreign-freezes.ts'
import { checkHealth } from './status/health.ts'
import { LeftoverImageWatch } from './containers/leftover-images.ts'
import { Inventory } from './inventory/inventory.ts'
import type { MemberList } from '../archive/member-list.ts'
import { listArchiveMembers } from './inventory/archive-members.ts'
import { ReaderProcesses } from './inspection/reader-processes.ts'
import { KubeletEndpoint } from './kubelet/kubelet-endpoint.ts'
import { AgentMetrics } from './status/metrics.ts'
import { NodeContainers } from './containers/node-containers.ts'
import { NodeEvents } from './status/node-events.ts'
import { OwnLooks } from './inventory/own-looks.ts'
import type { PermissionRepair } from './directory/permissions.ts'
import { PrivacyKeeper } from './directory/privacy-keeper.ts'
import { describeNode, summarizeLeftovers } from './status/node-status.ts'
import { Retention } from './retention/retention.ts'
import { RunningContainers } from './containers/running-containers.ts'
import { RuntimeMonitor } from './containers/runtime-monitor.ts'
import { prepareStaging, type Staging } from './directory/staging.ts'

export interface AgentCheckpoints {
  readonly list: (query: CheckpointQuery) => Promise<CheckpointPage>
  readonly get: (id: string) => Promise<Checkpoint>
  readonly namespaces: () => readonly string[]
  readonly members: (
    checkpoint: Checkpoint,
    page: { readonly user: string; readonly skip: number; readonly limit: number; readonly signal: AbortSignal },
  ) => Promise<MemberList>
  readonly watch: NodeEvents['watch']
}

/** How often folders and index are looked at: what others can see in between is a matter of seconds. */
const PRIVACY_MS = 30_000

/** Every part of the node agent but its listeners. Built bottom up, stopped top down. */
export class Agent {
  readonly captures: Captures
  readonly kubelet: KubeletEndpoint
  readonly contents: Contents
  readonly actions: CheckpointActions
  readonly custody: Custody
  readonly retention: Retention
  readonly metrics = new AgentMetrics()
  readonly #options: AgentOptions
  readonly #lock: DirectoryLock
  readonly #database: Sqlite.Database
  readonly #store: JobStore
  readonly #runtime: CriClient
  readonly #monitor: RuntimeMonitor
  readonly #containers: NodeContainers
  readonly #running: RunningContainers
  readonly #staging: Staging
  readonly #reader: ReaderProcesses
  readonly #guard: FreezeGuard
  readonly #foreign: ForeignFreezes
  readonly #leftovers: LeftoverImageWatch
  readonly #checkpoints: CheckpointStore
  readonly #inventory: Inventory
  readonly #admission: Admission
  readonly #contentCustody: ContentCustody
  readonly #events = new NodeEvents()
  readonly #ownLooks = new OwnLooks()
  readonly #privacy: PrivacyKeeper
  readonly #recovery: Promise<void>
  /** The log is open, and the inventory reads the directory. */
  readonly #started: Promise<void>

  /** Throws an UnavailableError when the directories cannot be used, another agent holding them included. */
  constructor(options: AgentOptions) {
    const { checkpointsDirectory, clock, logger, capture } = options
    this.#options = options
    this.#staging = prepareStaging(checkpointsDirectory)
    makePrivateFolder(options.stateDirectory)
    this.#lock = lockDirectories({ staging: this.#staging.root, state: options.stateDirectory })
    const indexFile = join(options.stateDirectory, 'index.db')
    try {
      this.custody = new Custody({
        stateDirectory: options.stateDirectory,
        node: options.nodeName,
        agentVersion: options.version,
        maxBytes: options.custody.maxBytes,
        clock,
        logger,
      })
      this.#database = openDatabase({ file: indexFile, clock, logger })
    } catch (error) {
      this.#lock.release()
      throw error
    }
    this.#store = new JobStore(this.#database)
    this.#runtime = new CriClient({
      socketPath: () => options.runtimeSocket ?? findSocket(),
      containerdNamespace: options.containerdNamespace,
    })
    this.#monitor = new RuntimeMonitor({ runtime: this.#runtime, clock, logger })
    this.#containers = new NodeContainers(this.#runtime)

    this.#reader = new ReaderProcesses({
      directory: checkpointsDirectory,
      stateDirectory: options.stateDirectory,
      logger,
      onLost: (cause) => {
        this.metrics.countReaderLost(cause)
      },
    })

    const control = createFreezeControl({ runtime: this.#runtime, cgroupRoot: options.freezeGuard.cgroupRoot })
    this.#guard = new FreezeGuard({
      control,
      logger,
      onResumed: () => {
        this.metrics.countResumed('own')
      },
      record: (entry) => {
        recordResume(this.custody, entry)
      },
    })
    this.#leftovers = new LeftoverImageWatch({
      directory: options.crioStorage,
      isBusy: (id) => this.captures.findInFlight(id) !== undefined,
      clock,
      logger,
    })
    const tools: CaptureTools = {
      runtime: this.#runtime,
      containers: this.#containers,
      freezeControl: control,
      freezeGuard: this.#guard,
      findLeftoverImages: (containerId) => this.#leftovers.findAfterFailure(containerId),
      custody: captureCustody({
        custody: this.custody,
        runtimeVersion: () => this.#monitor.state.version,
      }),
      stagedCheck: readerCheck(this.#reader, checkpointsDirectory),
      staging: this.#staging,
      checkpointsDirectory,
      clock,
      logger,
      diskFloor: capture.diskFloor,
      sizeFactor: capture.sizeFactor,
      runtimeName: () => this.#monitor.state.version?.name,
      reservations: new Set(),
      makeRoom: (bytes) => this.retention.makeRoom(bytes),
      whyNotKept: (identity, bytes) =>
        this.retention.whyNotKept({ ...identity, engine: this.#monitor.state.version?.name, sizeBytes: bytes }),
    }
    this.captures = new Captures({
      store: this.#store,
      tools,
      concurrency: capture.concurrency,
      queueLimit: capture.queueLimit,
      maxDurationMs: capture.maxDurationMs,
      events: this.#events,
      onEnd: (ended) => {
        this.metrics.countCapture(ended)
        this.#monitor.noteCapture(ended)
        if (ended.state === 'failed') void this.#leftovers.refresh().catch(() => undefined)
        if (ended.archive !== undefined) this.#ownLooks.add(this.#inventory.lookAt(Buffer.from(ended.archive.fileName)))
      },
    })
    this.#running = new RunningContainers({
      runtime: this.#runtime,
      containers: this.#containers,
      store: this.#store,
      captureInFlight: (containerId) => this.captures.findInFlight(containerId),
    })
    this.kubelet = new KubeletEndpoint({
      enabled: options.kubeletEndpoint,
      minimumWaitSeconds: capture.minimumWaitMs / 1000,
      checkpointsDirectory,
      captures: this.captures,
    })
    this.#foreign = new ForeignFreezes({
      listAlive: async () => (await this.#containers.read()).listAlive(),
      control,
      isOurs: (id) => this.captures.findInFlight(id) !== undefined || this.#guard.isWatching(id),
      policy: options.freezeGuard.foreign,
      intervalMs: options.freezeGuard.intervalMs,
      afterMs: options.freezeGuard.foreignAfterMs,
      longestDumpMs: () => this.#store.longestDumpMs(),
      onResumed: () => {
        this.metrics.countResumed('foreign')
      },
      record: (entry) => {
        recordResume(this.custody, entry)
      },
      logger,
    })
    this.metrics.observe({
      version: options.version,
      runtimeState: () => this.#monitor.state,
      captureCounts: () => this.captures.counts,
      keptArchives: () => this.#staging.keptCount,
      frozenContainers: () => this.#foreign.frozen.length,
      leftoverImages: () => summarizeLeftovers(this.#leftovers.found ?? []),
      custodyState: () => this.custody.state,
      inventory: () => ({
        byState: this.#checkpoints.countByState(),
        archiveBytes: this.#checkpoints.totalBytes(),
        isWatching: this.#inventory.watchTrouble === undefined,
        rescans: this.#inventory.rescans,
        lastRescanSeconds: this.#inventory.lastRescan && this.#inventory.lastRescan.millis / 1000,
        waitingForHash: this.#inventory.hashQueueLength,
      }),
      readers: () => this.#reader.figures,
    })
    this.#checkpoints = new CheckpointStore(this.#database)
    this.#inventory = new Inventory({
      directory: checkpointsDirectory,
      store: this.#checkpoints,
      jobs: this.#store,
      reader: this.#reader,
      permissions: options.permissions,
      onRepair: (repair) => {
        this.#recordRepair(repair)
      },
      findObservedCapture: (file) => this.custody.findObservedCapture(file),
      findDigestTime: (id) => this.custody.findDigestTime(id),
      rescanMs: options.rescanMs,
      events: this.#events,
      clock,
      logger,
    })
    this.#contentCustody = new ContentCustody({ custody: this.custody, node: options.nodeName, logger })
    this.#admission = new Admission({ content: options.content, inspection: options.inspection })
    this.contents = new Contents({
      directory: checkpointsDirectory,
      reader: this.#reader,
      admission: this.#admission,
      maxHoldMs: options.content.maxHoldMs,
      encryption: { isRequired: options.content.requireEncryption, recipients: options.content.recipients },
      recorder: this.#contentCustody,
      logger,
    })
    this.actions = new CheckpointActions({
      directory: checkpointsDirectory,
      reader: this.#reader,
      clock,
      logger,
      inspections: this.#admission.inspections,
      record: (entry) => this.custody.recordAction(entry),
      findRecordedSha256: (checkpoint) => this.custody.findRecordedSha256(checkpoint),
      isInUse: (id) => this.contents.readers.isInUse(id),
      hold: (id) => this.contents.readers.hold(id),
      refresh: async ({ id, rawName }) => {
        await this.#inventory.lookAt(rawName)
        return this.#checkpoints.find(id)
      },
    })
    this.retention = new Retention({
      directory: checkpointsDirectory,
      indexFile,
      database: this.#database,
      store: this.#checkpoints,
      jobs: this.#store,
      inventory: this.#inventory,
      custody: this.custody,
      readers: this.contents.readers,
      staging: this.#staging,
      listPodUids: () => this.#listPodUids(),
      metrics: this.metrics.retention,
      policy: options.retention.policy,
      clock,
      logger,
    })
    this.#events.watch(undefined, (event) => {
      recordInventoryChange(this.custody, event)
    })
    this.#privacy = new PrivacyKeeper({
      directory: checkpointsDirectory,
      policy: options.permissions,
      index: { file: indexFile, inode: statSync(indexFile).ino },
      intervalMs: PRIVACY_MS,
      onRepair: (repair) => {
        this.#recordRepair(repair)
      },
      logger,
    })
    this.#privacy.start()
    this.#monitor.start()
    this.#foreign.start()
    this.#leftovers.start()
    this.#started = this.#start(tools)
    this.#recovery = recoverCaptures({
      store: this.#store,
      tools,
      hold: (containerId, jobId, until) => {
        this.captures.hold(containerId, jobId, until)
      },
    }).catch((error: unknown) => {
      logger.error({ error: errorText(error) }, 'Cannot clean up after the earlier run')
    })
  }

  /** What is known of the archives in the directory. */
  get checkpoints(): AgentCheckpoints {
    return {
      list: async (query) => {
        await this.#ownLooks.ended()
        return this.#checkpoints.list(query)
      },
      get: async (id) => {
        await this.#ownLooks.ended()
        return this.#checkpoints.get(id)
      },
      namespaces: () => this.#checkpoints.namespaces(),
      members: (checkpoint, { user, ...page }) =>
        this.#admission.inspections.run(user, page.signal, () => listArchiveMembers(checkpoint, page, this.#reader)),
      watch: (lastEventId, onEvent) => this.#events.watch(lastEventId, onEvent),
    }
  }

  async status(tlsFingerprint: string | undefined): Promise<NodeStatus> {
    await this.#ownLooks.ended()
    const { nodeName, version, checkpointsDirectory, capture, freezeGuard } = this.#options
    return await describeNode({
      node: nodeName,
      agentVersion: version,
      checkpointsDirectory,
      diskFloor: capture.diskFloor,
      runtime: () => this.#monitor.freshState(),
      archives: { byState: this.#checkpoints.countByState(), bytes: this.#checkpoints.totalBytes() },
      captures: { ...this.captures.counts, unpublished: this.#staging.keptCount },
      freezeGuard: {
        policy: freezeGuard.foreign,
        frozenNow: this.#foreign.frozen.length,
        resumedTotal: this.metrics.resumed.own,
        foreignResumedTotal: this.metrics.resumed.foreign,
        canLook: this.#foreign.canLook,
      },
      leftoverImages: this.#leftovers.found,
      custody: { keyId: this.custody.key.id, publicKey: this.custody.key.publicKey },
      tlsFingerprint,
    })
  }

  lookAtRunning(): Promise<RunningLook> {
    return this.#running.look()
  }

  health(): readonly HealthCheck[] {
    return checkHealth({
      runtime: this.#monitor.state,
      staging: this.#staging,
      database: this.#database,
      frozenContainers: this.#foreign.frozen.length,
      canSeeFreezes: this.#foreign.canLook,
      watchTrouble: this.#inventory.watchTrouble,
      isIndexGone: this.#privacy.isIndexGone,
      custody: this.custody.state,
    })
  }

  /** Signed, for the archive to travel with; of the row that its reader was let in for. */
  manifest(checkpoint: Checkpoint): DsseEnvelope {
    const { nodeName, version, clock } = this.#options
    return signManifest(checkpoint, {
      custody: this.custody,
      node: nodeName,
      agentVersion: version,
      runtimeVersion: () => this.#monitor.state.version,
      clock,
    })
  }

  /** The custody log comes first: what it knows of our captures is what the inventory calls them by. */
  async #start({ custody, checkpointsDirectory }: CaptureTools): Promise<void> {
    await this.custody.start()
    await recordMissedOutcomes({
      store: this.#store,
      custody: this.custody,
      captures: custody,
      checkpointsDirectory,
    }).catch((error: unknown) => {
      this.#options.logger.error({ error: errorText(error) }, 'Cannot record captures of an earlier run')
    })
    this.#inventory.start()
    await this.#inventory.rescan()
    await this.custody.missing((id) => this.#checkpoints.find(id) !== undefined)
    await this.retention.start()
  }

  /** A runtime that is not well may not know all of its pods yet. */
  async #listPodUids(): Promise<ReadonlySet<string>> {
    const { trouble } = this.#monitor.state
    if (trouble !== undefined) throw new Error(trouble)
    return new Set((await this.#runtime.listSandboxes()).map(({ podUid }) => podUid))
  }

  /** Now, instead of in half a minute. */
  lookAtPermissions(): void {
    this.#privacy.lookOnce()
  }

  #recordRepair({ what, ...found }: PermissionRepair): void {
    this.metrics.countPermissionRepair(what)
    this.#options.logger.warn({ what, ...found }, 'Took away what others than root were allowed to do')
    const { checkpointId: id, path: fileName, mode, owner } = found
    if (id === undefined) return
    void this.custody.permissionRepaired({ id, fileName }, { from: `${mode}, user ${owner}`, to: 'root alone' })
  }

  /** Leaves nothing open. Captures must have been shut down before. */
  async stop(): Promise<void> {
    this.#guard.close()
    await this.#started
    // Before all that it works with.
    await this.retention.stop()
    await Promise.all([
      this.#privacy.stop(),
      this.#foreign.stop(),
      this.#leftovers.stop(),
      this.#monitor.stop(),
      this.#inventory.stop(),
      this.#recovery,
      this.contents.close(),
      this.actions.close(),
    ])
    await this.#reader.close()
    await this.#contentCustody.close()
    await this.custody.stop()
    this.#runtime.close()
    this.#database.close()
    this.#lock.release()
  }
}
