import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import type { CaptureJob, ContainerCapture } from '../../src/checkpoint/capture-job.ts'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { ContainerIdentity } from '../../src/checkpoint/identity.ts'
import { OPEN_TO_ALL, type Access } from '../../src/access/access.ts'
import { createApp } from '../../src/http/app.ts'
import type { RateLimits } from '../../src/http/rates.ts'
import type {
  CaptureServices,
  KubeletCheckpointRequest,
  KubeletContainer,
  KubeletServices,
} from '../../src/http/capture-services.ts'
import type { CheckpointServices } from '../../src/http/checkpoint-services.ts'
import type { RunningContainer, RunningLook } from '../../src/http/node-services.ts'
import type { HttpServices } from '../../src/http/services.ts'
import { silentLogger, type Logger } from '../../src/shared/logger.ts'

export const ARCHIVE = '/var/lib/kubelet/checkpoints/checkpoint-web-node-a_shop-counter-2026-11-20T21:34:07Z.tar'

export const counter: ContainerIdentity = {
  namespace: 'shop',
  pod: 'web-node-a',
  podUid: '0c1ef1d5-6b5a-4b3c-9a55-3a4b5c6d7e8f',
  container: 'counter',
  containerId: 'f6c8a5ce2925e2146b138ce97866b03e6ca269a8f22a2ff21a97f58a196c6cec',
}

export interface KubeletWish extends KubeletCheckpointRequest {
  readonly namespace: string
  readonly pod: string
  readonly container: string
}

/** What is found and what comes of it, by name. */
export interface KubeletChanges extends Partial<Pick<KubeletServices, 'enabled' | 'minimumWaitSeconds'>> {
  readonly lookUp?: (namespace: string, pod: string, container: string) => Promise<'pod' | 'container' | 'found'>
  readonly checkpoint?: (wish: KubeletWish) => ReturnType<KubeletContainer['checkpoint']>
}

/** The pod of the recordings: `counter` runs, `crash` and `init` do not. Says what the kubelet says. */
export function webPodKubelet({
  lookUp = async (namespace, pod, container) => {
    if (namespace !== 'shop' || pod !== 'web-node-a') return 'pod'
    return ['counter', 'crash', 'init'].includes(container) ? 'found' : 'container'
  },
  checkpoint: take = async ({ container, timeoutMs }) => {
    if (container !== 'counter') return { error: `container ${container} not found` }
    if (timeoutMs === undefined) return { error: 'CheckpointContainer requires the timeout value to be > 0' }
    if (timeoutMs === 0) return { error: 'rpc error: code = DeadlineExceeded desc = context deadline exceeded' }
    return { path: ARCHIVE }
  },
  ...others
}: KubeletChanges = {}): KubeletServices {
  return {
    enabled: true,
    minimumWaitSeconds: 120,
    lookUp: async (namespace, pod, container) => {
      const found = await lookUp(namespace, pod, container)
      if (found !== 'found') return found
      return { checkpoint: (request) => take({ ...request, namespace, pod, container }) }
    },
    ...others,
  }
}

export interface ServiceChanges {
  readonly kubelet?: KubeletServices
  readonly captures?: Partial<CaptureServices>
  readonly checkpoints?: Partial<CheckpointServices>
  /** No service: the signal by which the agent says that it ends. */
  readonly ending?: AbortSignal
  /** Nor this; everybody may do everything without it. */
  readonly access?: Access
  /** Nor these; nobody is counted without them. */
  readonly rates?: Partial<RateLimits>
  readonly node?: HttpServices['node']
  readonly containers?: HttpServices['containers']
  readonly actions?: Partial<HttpServices['actions']>
  readonly contents?: Partial<HttpServices['contents']>
  readonly custody?: Partial<HttpServices['custody']>
  readonly retention?: Partial<HttpServices['retention']>
  readonly health?: Partial<HttpServices['health']>
  readonly metrics?: HttpServices['metrics']
}

/** Plain functions; what a test does not name must not be called by it. */
export function httpServices(changes: ServiceChanges = {}): HttpServices {
  return {
    kubelet: changes.kubelet ?? webPodKubelet(),
    node: changes.node ?? { status: unexpected('node.status') },
    containers: changes.containers ?? { look: unexpected('containers.look') },
    captures: {
      request: unexpected('captures.request'),
      wait: unexpected('captures.wait'),
      list: unexpected('captures.list'),
      namespaces: unexpected('captures.namespaces'),
      get: unexpected('captures.get'),
      cancel: unexpected('captures.cancel'),
      ...changes.captures,
    },
    checkpoints: {
      list: unexpected('checkpoints.list'),
      get: unexpected('checkpoints.get'),
      members: unexpected('checkpoints.members'),
      watch: unexpected('checkpoints.watch'),
      namespaces: unexpected('checkpoints.namespaces'),
      ...changes.checkpoints,
    },
    actions: {
      pin: unexpected('actions.pin'),
      unpin: unexpected('actions.unpin'),
      verify: unexpected('actions.verify'),
      remove: unexpected('actions.remove'),
      ...changes.actions,
    },
    contents: {
      openArchive: unexpected('contents.openArchive'),
      openMember: unexpected('contents.openMember'),
      readRootfsDiff: unexpected('contents.readRootfsDiff'),
      ...changes.contents,
    },
    custody: {
      page: unexpected('custody.page'),
      head: unexpected('custody.head'),
      verify: unexpected('custody.verify'),
      export: unexpected('custody.export'),
      manifest: unexpected('custody.manifest'),
      ...changes.custody,
    },
    retention: {
      status: unexpected('retention.status'),
      plan: unexpected('retention.plan'),
      sweep: unexpected('retention.sweep'),
      history: unexpected('retention.history'),
      ...changes.retention,
    },
    health: { isAlive: () => true, checks: () => [], ...changes.health },
    metrics: changes.metrics ?? unexpected('metrics'),
  }
}

export function testApp(changes: ServiceChanges = {}, logger: Logger = silentLogger) {
  const { ending, rates, access = OPEN_TO_ALL } = changes
  return createApp(httpServices(changes), {
    logger,
    nodeName: 'node-a',
    access,
    ...(rates !== undefined && { rates }),
    ...(ending !== undefined && { ending }),
  })
}

/** A look that finds these. */
export function lookOf(containers: readonly RunningContainer[]): RunningLook {
  return {
    namespaces: containers.map(({ identity }) => identity.namespace),
    describe: async (sees) => containers.filter(({ identity }) => sees(identity.namespace)),
  }
}

function unexpected(name: string): () => never {
  return () => {
    throw new Error(`The test did not expect a call of ${name}`)
  }
}

/** The app on a port of the loopback address until the test has finished. */
export async function startApp(changes: ServiceChanges = {}, logger?: Logger): Promise<number> {
  return listen(createServer(testApp(changes, logger)))
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

/** A logger that keeps what it is told. */
export function recordingLogger(): Logger & { readonly lines: { level: string; fields: object; message: string }[] } {
  const lines: { level: string; fields: object; message: string }[] = []
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message })
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

export function capture(changes: Partial<ContainerCapture> = {}): ContainerCapture {
  return { identity: counter, state: 'queued', bytesWritten: 0, phases: [], ...changes }
}

export function job(changes: Partial<CaptureJob> = {}): CaptureJob {
  return {
    id: '01JD5V3GQ4Z8E0M2N6R7T9W1XY',
    requestedBy: 'system:anonymous',
    wholePod: false,
    pin: false,
    queuedAt: new Date('2026-11-20T21:34:07.123Z'),
    captures: [capture()],
    ...changes,
  }
}

/** A capture that left an archive behind. */
export const succeeded: ContainerCapture = capture({
  state: 'succeeded',
  startedAt: new Date('2026-11-20T21:34:08Z'),
  finishedAt: new Date('2026-11-20T21:34:09.5Z'),
  bytesWritten: 264_704,
  phases: [
    { name: 'admission', startedAt: new Date('2026-11-20T21:34:07.123Z'), millis: 4 },
    { name: 'dump', startedAt: new Date('2026-11-20T21:34:08Z'), millis: 1200.5 },
  ],
  archive: {
    checkpointId: '9f2c4e5a7b1d3c60',
    fileName: 'checkpoint-web-node-a_shop-counter-2026-11-20T21:34:08Z.tar',
    sizeBytes: 264_704,
    takenAt: new Date('2026-11-20T21:34:08Z'),
  },
})

/** An archive of which everything is known. */
export function checkpoint(changes: Partial<Checkpoint> = {}): Checkpoint {
  return {
    id: '9f2c4e5a7b1d3c60',
    rawName: Buffer.from('checkpoint-web-node-a_shop-counter-2026-11-20T21:34:08Z.tar'),
    fileName: 'checkpoint-web-node-a_shop-counter-2026-11-20T21:34:08Z.tar',
    generation: '1234:264704:1795210448123456789',
    state: 'ready',
    problems: [{ code: 'TrailingBytes', weight: 'note', detail: '512 bytes follow its end' }],
    identity: { ...counter, source: 'archive', isTrusted: true },
    engine: 'containerd',
    sizeBytes: 264_704,
    takenAt: { text: '2026-11-20T21:34:08.123456789Z', millis: 1_795_210_448_123 },
    discoveredAt: new Date('2026-11-20T21:34:08.5Z'),
    sha256: 'ab'.repeat(32),
    pin: { by: 'operator', reason: 'evidence' },
    summary: {
      kind: 'container',
      compression: 'none',
      image: { name: 'docker.io/library/busybox:1.37', digest: 'sha256:11', id: 'sha256:22' },
      runtime: 'io.containerd.runc.v2',
      criuVersion: '4.2.1',
      createdAt: '2026-11-20T21:30:00.5Z',
      startedAt: '2026-11-20T21:30:01.000000001Z',
      memoryBytes: 139_264,
      rootfsDiffBytes: 201,
      processCount: 2,
      memberCount: 31,
      dumpStatistics: { freezingMicros: 463, frozenMicros: 34_219, pagesScanned: 48, pagesWritten: 34 },
    },
    ...changes,
  }
}
