import { openAccess } from './access/access.ts'
import type { Agent } from './agent/agent.ts'
import { startAgent } from './agent/start-agent.ts'
import type { Config } from './config/config.ts'
import { PolicyFile } from './config/policy-file.ts'
import { createApp } from './http/app.ts'
import { openListeners } from './http/listeners.ts'
import { loadServingCertificate } from './http/serving-certificate.ts'
import { systemClock } from './shared/clock.ts'
import { armFailPoint } from './shared/fail-point.ts'
import { collectWhenIdle } from './shared/idle-collection.ts'
import { jsonLog } from './shared/json-log.ts'

/**
 * Time that requests may take after the listeners have closed, other than those waiting for a
 * capture.
 */
const DRAIN_MS = 5_000

/** Stops the agent in order; the argument gives the reason for the log. */
type Stop = (why: string) => Promise<void>

/**
 * Builds and starts all components, dependencies first. Returns a function that stops them in
 * reverse.
 */
export async function runAgent(config: Config, version: string): Promise<Stop> {
  const logger = jsonLog({ level: config.log.level, node: config.node.name })
  if (config.debug.failPoint !== undefined) armFailPoint(config.debug.failPoint)
  collectWhenIdle()

  const agent = startAgent({
    version,
    nodeName: config.node.name,
    checkpointsDirectory: config.checkpoints.directory,
    permissions: config.checkpoints.permissions,
    rescanMs: config.checkpoints.rescanIntervalMs,
    stateDirectory: config.state.directory,
    runtimeSocket: config.runtime.socket,
    containerdNamespace: config.runtime.containerdNamespace,
    crioStorage: config.runtime.crioStorage,
    kubeletEndpoint: config.server.kubeletEndpoint,
    capture: config.capture,
    content: config.content,
    inspection: config.inspection,
    custody: config.custody,
    retention: config.retention,
    freezeGuard: config.freezeGuard,
    clock: systemClock,
    logger,
  })
  const policyFile = followPolicy(config, agent)
  const { tls } = config.server
  const certificate =
    tls.kind === 'none'
      ? undefined
      : await loadServingCertificate({
          source: tls,
          stateDirectory: config.state.directory,
          nodeName: config.node.name,
          clock: systemClock,
          logger,
        })
  const access = await openAccess({ ...config.server.auth, clock: systemClock, logger })
  const { actions, captures, checkpoints, contents, custody, kubelet, metrics, retention } = agent
  // Notifies streams that would never end by themselves.
  const ending = new AbortController()
  const app = createApp(
    {
      node: { status: () => agent.status(certificate?.fingerprint()) },
      containers: { look: () => agent.lookAtRunning() },
      captures,
      checkpoints,
      actions,
      contents,
      custody: {
        page: (query) => custody.page(query),
        head: () => custody.head(),
        verify: (head) => custody.verify(head),
        export: (after) => custody.export(after),
        manifest: (checkpoint) => agent.manifest(checkpoint),
      },
      retention,
      kubelet,
      health: { isAlive: () => true, checks: () => agent.health() },
      metrics: () => metrics.render(),
    },
    { logger, nodeName: config.node.name, access, rates: config.server.limits, ending: ending.signal },
  )
  const listeners = await openListeners(app, {
    address: config.server.address ?? '',
    socket: config.server.socket ?? '',
    ...(certificate !== undefined && { certificate }),
    ...(access.clientAuthorities !== undefined && { clientAuthorities: access.clientAuthorities }),
    maxConnections: config.server.limits.connections,
    logger,
  })
  if (certificate !== undefined) logger.info({ fingerprint: certificate.fingerprint() }, 'Serving TLS')
  logger.info({ version, directory: config.checkpoints.directory }, 'checkpoint-agent is ready')

  return async (signal) => {
    logger.info({ signal }, 'Stopping: no new captures; those under way may end')
    await agent.captures.shutDown(config.shutdown.captureGraceMs)
    ending.abort()
    await listeners.close(DRAIN_MS)
    certificate?.stop()
    access.stop()
    policyFile?.stop()
    await agent.stop()
    logger.info({}, 'Stopped')
  }
}

function followPolicy({ retention }: Config, agent: Agent): PolicyFile | undefined {
  if (retention.file === undefined) return undefined
  return new PolicyFile({
    path: retention.file,
    policy: retention.policy,
    onPolicy: (policy) => agent.retention.usePolicy(policy),
    onMistakes: (mistakes) => agent.retention.refusePolicy(mistakes),
  })
}
