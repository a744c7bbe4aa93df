import { statSync } from 'node:fs'
import { join } from 'node:path'
import { createFreezeControl } from '../runtime/freeze-control.ts'
import { CriClient } from '../runtime/cri-client.ts'
import { findSocket } from '../runtime/find-socket.ts'
import { FreezeGuard } from '../runtime/freeze-guard.ts'
import { errorText } from '../shared/errors.ts'
import { CheckpointStore } from '../store/checkpoint-store.ts'
import { makePrivateFolder, openDatabase } from '../store/database.ts'
import { JobStore } from '../store/job-store.ts'
import { CheckpointActions } from './actions/checkpoint-actions.ts'
import { Admission } from './admission/admission.ts'
import { Agent } from './agent.ts'
import type { AgentOptions } from './agent-options.ts'
import { CaptureQueue } from './capture/capture-queue.ts'
import type { CaptureTools } from './capture/capture-run.ts'
import { Captures } from './capture/captures.ts'
import { recoverCaptures } from './capture/recovery.ts'
import { readerCheck } from './capture/staged-check.ts'
import { ForeignFreezes } from './containers/foreign-freezes.ts'
import { LeftoverImageWatch } from './containers/leftover-images.ts'
import { NodeContainers } from './containers/node-containers.ts'
import { RunningContainers } from './containers/running-containers.ts'
import { RuntimeMonitor } from './containers/runtime-monitor.ts'
import { Contents } from './content/contents.ts'
import { captureCustody } from './custody/capture-custody.ts'
import { ContentCustody } from './custody/content-custody.ts'
import { Custody } from './custody/custody.ts'
import { recordResume } from './custody/freeze-custody.ts'
import { recordInventoryChange } from './custody/inventory-custody.ts'
import { recordMissedOutcomes } from './custody/missed-outcomes.ts'
import { lockDirectories } from './directory/directory-lock.ts'
import type { PermissionRepair } from './directory/permissions.ts'
import { PrivacyKeeper } from './directory/privacy-keeper.ts'
import { prepareStaging } from './directory/staging.ts'
import { ReaderProcesses } from './inspection/reader-processes.ts'
import { Inventory } from './inventory/inventory.ts'
import { PendingRefreshes } from './inventory/pending-refreshes.ts'
import { KubeletEndpoint } from './kubelet/kubelet-endpoint.ts'
import { Retention } from './retention/retention.ts'
import { AgentMetrics } from './status/metrics.ts'
import { NodeEvents } from './status/node-events.ts'
import { summarizeLeftovers } from './status/node-status.ts'

/** Interval between checks of the permissions of the directories and the index. */
const PRIVACY_MS = 30_000

/**
 * Builds and starts all parts of the agent except its listeners, in the order of their dependencies. Throws
 * UnavailableError if the directories cannot be used or another agent holds them. All parts are closed in that case.
 */
export function startAgent(options: AgentOptions): Agent {
  const parts = new AsyncDisposableStack()
  try {
    return startParts(options, parts)
  } catch (error) {
    void parts.disposeAsync()
    throw error
  }
}

function startParts(options: AgentOptions, parts: AsyncDisposableStack): Agent {
  const { checkpointsDirectory, stateDirectory, clock, logger, capture, freezeGuard } = options
  const metrics = new AgentMetrics()
  const events = new NodeEvents()
  const pendingRefreshes = new PendingRefreshes()

  // Directories, database and custody log.
  const staging = prepareStaging(checkpointsDirectory)
  makePrivateFolder(stateDirectory)
  const lock = lockDirectories({ staging: staging.root, state: stateDirectory })
  parts.defer(() => lock.release())
  const custody = new Custody({
    stateDirectory,
    node: options.nodeName,
    agentVersion: options.version,
    maxBytes: options.custody.maxBytes,
    clock,
    logger,
  })
  const indexFile = join(stateDirectory, 'index.db')
  const database = openDatabase({ file: indexFile, clock, logger })
  parts.defer(() => void database.close())
  const jobs = new JobStore(database)
  const checkpoints = new CheckpointStore(database)
  const recordRepair = ({ what, ...found }: PermissionRepair) => {
    metrics.countPermissionRepair(what)
    logger.warn({ what, ...found }, 'Took away what others than root were allowed to do')
    const { checkpointId: id, path: fileName, mode, owner } = found
    if (id === undefined) return
    void custody.permissionRepaired({ id, fileName }, { from: `${mode}, user ${owner}`, to: 'root alone' })
  }

  // The runtime and the containers of the node.
  const runtime = new CriClient({
    socketPath: () => options.runtimeSocket ?? findSocket(),
    containerdNamespace: options.containerdNamespace,
  })
  parts.defer(() => runtime.close())
  parts.defer(() => custody.stop())
  const monitor = new RuntimeMonitor({ runtime, clock, logger })
  const containers = new NodeContainers(runtime)
  const control = createFreezeControl({ runtime, cgroupRoot: freezeGuard.cgroupRoot })
  const guard = new FreezeGuard({
    control,
    logger,
    onResumed: () => metrics.countResumed('own'),
    record: (entry) => recordResume(custody, entry),
  })
  const queue = new CaptureQueue({ concurrency: capture.concurrency, limit: capture.queueLimit })
  const leftovers = new LeftoverImageWatch({
    directory: options.crioStorage,
    isBusy: (id) => queue.findJob(id) !== undefined,
    clock,
    logger,
  })
  const foreign = new ForeignFreezes({
    listAlive: async () => (await containers.read()).listAlive(),
    control,
    isOurs: (id) => queue.findJob(id) !== undefined || guard.isWatching(id),
    policy: freezeGuard.foreign,
    intervalMs: freezeGuard.intervalMs,
    afterMs: freezeGuard.foreignAfterMs,
    longestDumpMs: () => jobs.longestDumpMs(),
    onResumed: () => metrics.countResumed('foreign'),
    record: (entry) => recordResume(custody, entry),
    logger,
  })

  // Archives: the reader process, the inventory, content and actions.
  const contentCustody = new ContentCustody({ custody, node: options.nodeName, logger })
  parts.defer(() => contentCustody.close())
  const { openReader = (settings) => new ReaderProcesses(settings) } = options
  const reader = openReader({
    directory: checkpointsDirectory,
    stateDirectory,
    logger,
    onLost: (cause) => metrics.countReaderLost(cause),
  })
  parts.defer(() => reader.close())
  const inventory = new Inventory({
    directory: checkpointsDirectory,
    store: checkpoints,
    jobs,
    reader,
    permissions: options.permissions,
    onRepair: recordRepair,
    findObservedCapture: (file) => custody.findObservedCapture(file),
    findDigestTime: (id) => custody.findDigestTime(id),
    rescanMs: options.rescanMs,
    events,
    clock,
    logger,
  })
  const admission = new Admission({ content: options.content, inspection: options.inspection })
  const contents = new Contents({
    directory: checkpointsDirectory,
    reader,
    admission,
    maxHoldMs: options.content.maxHoldMs,
    encryption: { isRequired: options.content.requireEncryption, recipients: options.content.recipients },
    recorder: contentCustody,
    logger,
  })
  const actions = new CheckpointActions({
    directory: checkpointsDirectory,
    reader,
    clock,
    logger,
    inspections: admission.inspections,
    record: (entry) => custody.recordAction(entry),
    findRecordedSha256: (checkpoint) => custody.findRecordedSha256(checkpoint),
    isInUse: (id) => contents.readers.isInUse(id),
    hold: (id) => contents.readers.hold(id),
    refresh: async ({ id, rawName }) => {
      await inventory.refresh(rawName)
      return checkpoints.find(id)
    },
  })
  const retention = new Retention({
    directory: checkpointsDirectory,
    indexFile,
    database,
    store: checkpoints,
    jobs,
    inventory,
    custody,
    readers: contents.readers,
    staging,
    listPodUids: async () => {
      // A runtime that is not ready may not know all of its pods yet.
      const { error } = monitor.state
      if (error !== undefined) throw new Error(error)
      return new Set((await runtime.listSandboxes()).map(({ podUid }) => podUid))
    },
    metrics: metrics.retention,
    policy: options.retention.policy,
    clock,
    logger,
  })

  // Captures depend on all parts above.
  const tools: CaptureTools = {
    runtime,
    containers,
    freezeControl: control,
    freezeGuard: guard,
    findLeftoverImages: (containerId) => leftovers.findAfterFailure(containerId),
    custody: captureCustody({ custody, runtimeVersion: () => monitor.state.version }),
    stagedCheck: readerCheck(reader, checkpointsDirectory),
    staging,
    checkpointsDirectory,
    clock,
    logger,
    diskFloor: capture.diskFloor,
    sizeFactor: capture.sizeFactor,
    runtimeName: () => monitor.state.version?.name,
    reservations: new Set(),
    makeRoom: (bytes) => retention.makeRoom(bytes),
    rejectionReason: (identity, bytes) =>
      retention.rejectionReason({ ...identity, engine: monitor.state.version?.name, sizeBytes: bytes }),
  }
  const captures = new Captures({
    store: jobs,
    tools,
    queue,
    maxDurationMs: capture.maxDurationMs,
    events,
    onEnd: (ended) => {
      metrics.countCapture(ended)
      monitor.noteCapture(ended)
      if (ended.state === 'failed') void leftovers.refresh().catch(() => undefined)
      if (ended.archive !== undefined) pendingRefreshes.add(inventory.refresh(Buffer.from(ended.archive.fileName)))
    },
  })
  const kubelet = new KubeletEndpoint({
    enabled: options.kubeletEndpoint,
    minimumWaitSeconds: capture.minimumWaitMs / 1000,
    checkpointsDirectory,
    captures,
  })
  const running = new RunningContainers({
    runtime,
    containers,
    store: jobs,
    captureInFlight: (containerId) => queue.findJob(containerId),
  })
  metrics.observe({
    version: options.version,
    runtimeState: () => monitor.state,
    captureCounts: () => captures.counts,
    keptArchives: () => staging.keptCount,
    frozenContainers: () => foreign.frozen.length,
    leftoverImages: () => summarizeLeftovers(leftovers.found ?? []),
    custodyState: () => custody.state,
    inventory: () => ({
      byState: checkpoints.countByState(),
      archiveBytes: checkpoints.totalBytes(),
      isWatching: inventory.watchError === undefined,
      rescans: inventory.rescans,
      lastRescanSeconds: inventory.lastRescan && inventory.lastRescan.millis / 1000,
      waitingForHash: inventory.hashQueueLength,
    }),
    readers: () => reader.figures,
  })
  const privacy = new PrivacyKeeper({
    directory: checkpointsDirectory,
    policy: options.permissions,
    index: { file: indexFile, inode: statSync(indexFile).ino },
    intervalMs: PRIVACY_MS,
    onRepair: recordRepair,
    logger,
  })

  // Everything is built. Start it.
  events.watch(undefined, (event) => recordInventoryChange(custody, event))
  privacy.start()
  monitor.start()
  foreign.start()
  leftovers.start()
  const started = startInOrder({ options, tools, custody, jobs, checkpoints, inventory, retention })
  const recovery = recoverCaptures({
    store: jobs,
    tools,
    hold: (containerId, jobId, until) => captures.hold(containerId, jobId, until),
  }).catch((error: unknown) => {
    logger.error({ error: errorText(error) }, 'Cannot clean up after the earlier run')
  })
  parts.defer(() =>
    Promise.all([
      privacy.stop(),
      foreign.stop(),
      leftovers.stop(),
      monitor.stop(),
      inventory.stop(),
      recovery,
      contents.close(),
      actions.close(),
    ]).then(() => undefined),
  )
  parts.defer(() => retention.stop())
  parts.defer(async () => {
    guard.close()
    await started
  })
  return new Agent({
    options,
    actions,
    admission,
    captures,
    checkpoints,
    contents,
    custody,
    database,
    events,
    foreign,
    inventory,
    kubelet,
    leftovers,
    metrics,
    monitor,
    pendingRefreshes,
    privacy,
    reader,
    retention,
    running,
    staging,
    resources: parts,
  })
}

/** Starts the custody log first, because the inventory identifies the agent's own captures by it. */
async function startInOrder(parts: {
  readonly options: AgentOptions
  readonly tools: CaptureTools
  readonly custody: Custody
  readonly jobs: JobStore
  readonly checkpoints: CheckpointStore
  readonly inventory: Inventory
  readonly retention: Retention
}): Promise<void> {
  const { options, tools, custody, jobs, checkpoints, inventory, retention } = parts
  await custody.start()
  await recordMissedOutcomes({
    store: jobs,
    custody,
    captures: tools.custody,
    checkpointsDirectory: options.checkpointsDirectory,
  }).catch((error: unknown) => {
    options.logger.error({ error: errorText(error) }, 'Cannot record captures of an earlier run')
  })
  inventory.start()
  await inventory.rescan()
  await custody.missing((id) => checkpoints.find(id) !== undefined)
  await retention.start()
}
