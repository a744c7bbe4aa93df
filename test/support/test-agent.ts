import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import { startAgent } from '../../src/agent/start-agent.ts'
import type { AgentOptions } from '../../src/agent/agent-options.ts'
import { STAGING_FOLDER } from '../../src/agent/directory/staging.ts'
import { SHIPPED_POLICY, type Policy } from '../../src/retention/policy.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger, type Logger } from '../../src/shared/logger.ts'
import { inProcessReader } from './in-process-reader.ts'
import { startSimulatedRuntime, type SimulatedRuntime, type SimulatedRuntimeOptions } from './simulated-runtime.ts'

export type AgentSettings = Partial<Omit<AgentOptions, 'capture' | 'content' | 'inspection' | 'freezeGuard'>> & {
  readonly capture?: Partial<AgentOptions['capture']>
  readonly content?: Partial<AgentOptions['content']>
  readonly inspection?: Partial<AgentOptions['inspection']>
  readonly freezeGuard?: Partial<AgentOptions['freezeGuard']>
}

const QUIET_POLICY: Policy = {
  ...SHIPPED_POLICY,
  schedule: '',
  disk: { highWatermark: 1, lowWatermark: 1, minFreeBytes: 0 },
}

/** A folder of its own for one test. */
export interface TestFolder {
  readonly path: string
  readonly checkpoints: string
  readonly state: string
  remove(): void
}

export function makeTestFolder(): TestFolder {
  const path = mkdtempSync(join(tmpdir(), 'checkpoint-agent-test-'))
  return {
    path,
    checkpoints: join(path, 'checkpoints'),
    state: join(path, 'state'),
    remove: () => {
      rmSync(path, { recursive: true, force: true })
    },
  }
}

export function agentOptions(folder: TestFolder, socketPath: string, settings: AgentSettings = {}): AgentOptions {
  return {
    version: '0.0.0-test',
    nodeName: 'node-a',
    checkpointsDirectory: folder.checkpoints,
    stateDirectory: folder.state,
    permissions: 'enforce',
    rescanMs: 60_000,
    runtimeSocket: socketPath,
    containerdNamespace: 'k8s.io',
    crioStorage: join(folder.path, 'storage'),
    kubeletEndpoint: true,
    clock: systemClock,
    logger: silentLogger,
    // Its processes are what test/agent/inspection is about, and cost each agent half a second.
    openReader: ({ directory }) => ({ ...inProcessReader(directory), figures: { processes: 0, bytes: 0 } }),
    ...settings,
    capture: {
      concurrency: 1,
      queueLimit: 64,
      maxDurationMs: 3_600_000,
      minimumWaitMs: 120_000,
      diskFloor: { fraction: 0, minFreeBytes: 0 },
      sizeFactor: undefined,
      ...settings.capture,
    },
    content: {
      concurrency: 8,
      perUser: 4,
      maxHoldMs: 3_600_000,
      requireEncryption: false,
      recipients: [],
      ...settings.content,
    },
    inspection: { concurrency: 2, perUser: 1, ...settings.inspection },
    custody: { maxBytes: 1024 ** 3 },
    // A sweep comes when a test asks for it, and never for the sake of the disk that tests happen to run on.
    retention: { policy: QUIET_POLICY, ...settings.retention },
    freezeGuard: {
      foreign: 'report',
      foreignAfterMs: 300_000,
      intervalMs: 30_000,
      cgroupRoot: join(folder.path, 'cgroup'),
      ...settings.freezeGuard,
    },
  }
}

/** An agent in this process, in front of a simulated runtime. */
export interface TestAgent {
  readonly agent: Agent
  readonly runtime: SimulatedRuntime
  readonly folder: TestFolder
  /** Published archives, by name. */
  archives(): string[]
  /** Folders that captures left in staging. */
  leftovers(): string[]
  /** Ends the agent without its runtime and starts another on the same folders. */
  restart(settings?: AgentSettings): Promise<Agent>
  [Symbol.asyncDispose](): Promise<void>
}

export async function startTestAgent(
  settings: AgentSettings = {},
  simulated: Omit<SimulatedRuntimeOptions, 'socketPath'> = {},
): Promise<TestAgent> {
  const folder = makeTestFolder()
  const runtime = await startSimulatedRuntime({ socketPath: join(folder.path, 'runtime.sock'), ...simulated })
  let agent = startAgent(agentOptions(folder, runtime.socketPath, settings))
  const stop = async () => {
    await agent.captures.shutDown(0)
    await agent.stop()
  }
  return {
    get agent() {
      return agent
    },
    runtime,
    folder,
    archives: () => readdirSync(folder.checkpoints).filter((name) => !name.startsWith('.')),
    leftovers: () => stagingFolders(folder.checkpoints),
    async restart(next = settings) {
      await stop()
      agent = startAgent(agentOptions(folder, runtime.socketPath, next))
      return agent
    },
    async [Symbol.asyncDispose]() {
      await stop()
      await runtime[Symbol.asyncDispose]()
      folder.remove()
    },
  }
}

/** As the kubelet's endpoint goes about it. */
export async function kubeletCheckpoint(
  { kubelet }: Agent,
  { namespace, pod, container, ...request }: KubeletWish,
): Promise<{ readonly path: string } | { readonly error: string }> {
  const found = await kubelet.lookUp(namespace, pod, container)
  if (typeof found === 'string') return { error: `no such ${found}` }
  return 'error' in found ? found : await found.checkpoint(request)
}

interface KubeletWish {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  readonly timeoutMs: number | undefined
  readonly requestedBy: string
  readonly signal: AbortSignal
}

export function stagingFolders(checkpointsDirectory: string): string[] {
  return readdirSync(join(checkpointsDirectory, STAGING_FOLDER), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
}

/** Keeps what was logged, for tests that look at it. */
export function recordingLogger(): Logger & { readonly lines: { level: string; fields: object; message: string }[] } {
  const lines: { level: string; fields: object; message: string }[] = []
  const record = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields, message })
  }
  return { lines, debug: record('debug'), info: record('info'), warn: record('warn'), error: record('error') }
}
