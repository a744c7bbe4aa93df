#!/usr/bin/env node
// oxlint-disable-next-line import/no-unassigned-import -- it begins the program anew, and has nothing to give
import './config/small-process.ts'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { openAccess } from './access/access.ts'
import { Agent } from './agent/agent.ts'
import { readCommand, type Command } from './config/command-line.ts'
import type { Config } from './config/config.ts'
import { PolicyFile } from './config/policy-file.ts'
import { runVerifyCommand } from './custody/verify-command.ts'
import { createApp } from './http/app.ts'
import { openListeners } from './http/listeners.ts'
import { loadServingCertificate } from './http/serving-certificate.ts'
import { systemClock } from './shared/clock.ts'
import { AgentError, errorText } from './shared/errors.ts'
import { armFailPoint } from './shared/fail-point.ts'
import { jsonLog } from './shared/json-log.ts'

/** What requests that do not wait for a capture may take after the listeners have closed. */
const DRAIN_MS = 5_000

await main()

async function main(): Promise<void> {
  const version = readVersion()
  const command = readCommandOrEnd(version)
  if (command.kind === 'verify-custody') {
    await verifyCustodyOrEnd(command.argv)
    return
  }
  if (command.kind === 'print') {
    process.stdout.write(command.text)
    return
  }
  try {
    await run(command.config, version)
  } catch (error) {
    endWithError(error)
  }
}

async function verifyCustodyOrEnd(argv: readonly string[]): Promise<void> {
  try {
    const { text, exitCode } = await runVerifyCommand(argv)
    process.stdout.write(text)
    process.exitCode = exitCode
  } catch (error) {
    endWithError(error, 2)
  }
}

async function run(config: Config, version: string): Promise<void> {
  const logger = jsonLog({ level: config.log.level, node: config.node.name })
  if (config.debug.failPoint !== undefined) armFailPoint(config.debug.failPoint)

  const agent = new Agent({
    version,
    nodeName: config.node.name,
    checkpointsDirectory: config.checkpoints.directory,
    permissions: config.checkpoints.permissions,
    rescanMs: config.checkpoints.rescanIntervalMs,
    stateDirectory: config.state.directory,
    runtimeSocket: config.runtime.socket,
    containerdNamespace: config.runtime.containerdNamespace,
    kubeletEndpoint: config.server.kubeletEndpoint,
    capture: config.capture,
    content: config.content,
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
  // Streams that would never end by themselves are told when the agent does.
  const ending = new AbortController()
  const app = createApp(
    {
      node: { status: () => agent.status(certificate?.fingerprint()) },
      containers: { listRunning: () => agent.listRunning() },
      captures,
      checkpoints,
      actions,
      contents,
      custody: {
        page: (query) => custody.page(query),
        verify: (head) => custody.verify(head),
        export: (after) => custody.export(after),
        manifest: (id) => agent.manifest(id),
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
    takesCertificates: access.takesCertificates,
    maxConnections: config.server.limits.connections,
    logger,
  })
  if (certificate !== undefined) logger.info({ fingerprint: certificate.fingerprint() }, 'Serving TLS')
  logger.info({ version, directory: config.checkpoints.directory }, 'checkpoint-agent is ready')

  const stop = async (signal: string) => {
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
  stopOnSignal(stop)
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

/** The first signal begins an orderly stop, a second one ends it: what is left is found at the next start. */
function stopOnSignal(stop: (signal: string) => Promise<void>): void {
  let isStopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isStopping) process.exit(1)
      isStopping = true
      stop(signal).then(
        () => process.exit(0),
        (error: unknown) => endWithError(error),
      )
    })
  }
}

function readCommandOrEnd(version: string): Command {
  const sources = {
    argv: process.argv.slice(2),
    env: process.env,
    readFile: (path: string) => readFileSync(path, 'utf8'),
  }
  try {
    return readCommand(sources, version)
  } catch (error) {
    return endWithError(error, 2)
  }
}

function endWithError(error: unknown, exitCode = 1): never {
  if (error instanceof AgentError) {
    process.stderr.write(`checkpoint-agent: ${error.message}${error.hint === undefined ? '' : `\n  ${error.hint}`}\n`)
  } else {
    process.stderr.write(
      `checkpoint-agent: ${error instanceof Error ? (error.stack ?? errorText(error)) : errorText(error)}\n`,
    )
  }
  process.exit(exitCode)
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}
