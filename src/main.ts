#!/usr/bin/env node
// oxlint-disable-next-line import/no-unassigned-import -- it restarts the program and exports nothing
import './config/small-process.ts'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import process from 'node:process'
import type { Command } from './config/command-line.ts'
import type { Config } from './config/config.ts'

// All other modules are imported on demand: the static imports above are loaded twice, before and
// after the program restarts itself.

const WRONG_USAGE = 2

await main()

async function main(): Promise<void> {
  await checkNodeOrEnd()
  const version = readVersion()
  const command = await readCommandOrEnd(version)
  if ('argv' in command) {
    await verifyOrEnd(command)
    return
  }
  if (command.kind === 'print') {
    process.stdout.write(command.text)
    return
  }
  process.on('uncaughtException', (error) => void endRun(error))
  try {
    stopOnSignal(await run(command.config, version))
  } catch (error) {
    await endRun(error, { node: command.config.node.name })
  }
}

async function checkNodeOrEnd(): Promise<void> {
  const { assertNodeVersion } = await import('./config/node-version.ts')
  try {
    assertNodeVersion()
  } catch (error) {
    await endRun(error)
  }
}

async function run(config: Config, version: string) {
  const { useCompileCache } = await import('./config/compile-cache.ts')
  useCompileCache(config.state.directory)
  const { runAgent } = await import('./run-agent.ts')
  return await runAgent(config, version)
}

async function verifyOrEnd({ kind, argv }: Extract<Command, { readonly argv: unknown }>): Promise<void> {
  const { runVerifyCommand } = await import('./custody/verify-command.ts')
  const { runVerifyManifestCommand } = await import('./custody/manifest-command.ts')
  try {
    const verify = kind === 'verify-custody' ? runVerifyCommand : runVerifyManifestCommand
    const { text, exitCode } = await verify(argv)
    process.stdout.write(text)
    process.exitCode = exitCode
  } catch (error) {
    await endCommand(error)
  }
}

/**
 * Starts an orderly stop on the first signal and exits on the second. The next start recovers the
 * rest.
 */
function stopOnSignal(stop: (signal: string) => Promise<void>): void {
  let isStopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isStopping) process.exit(1)
      isStopping = true
      stop(signal).then(
        () => process.exit(0),
        (error: unknown) => void endRun(error),
      )
    })
  }
}

async function readCommandOrEnd(version: string): Promise<Command> {
  const { readCommand } = await import('./config/command-line.ts')
  const sources = {
    argv: process.argv.slice(2),
    env: process.env,
    readFile: (path: string) => readFileSync(path, 'utf8'),
  }
  try {
    return readCommand(sources, version)
  } catch (error) {
    const isRun = !sources.argv.includes('--check-config')
    return await (isRun ? endRun(error, { exitCode: WRONG_USAGE }) : endCommand(error))
  }
}

/**
 * Ends an agent that cannot start or continue. Writes a last log line to standard output; on a
 * terminal, writes plain text to standard error.
 */
async function endRun(error: unknown, { node = nodeName(), exitCode = 1 } = {}): Promise<never> {
  const { fatalText, logFatal } = await import('./shared/json-log.ts')
  const { stdout, stderr } = process
  try {
    if (!stdout.isTTY) logFatal({ node }, error)
    if (stdout.isTTY || stderr.isTTY) stderr.write(fatalText(error))
  } finally {
    process.exit(exitCode)
  }
}

/** Ends a command run by a user, with plain text. */
async function endCommand(error: unknown): Promise<never> {
  const { fatalText } = await import('./shared/json-log.ts')
  process.stderr.write(fatalText(error))
  process.exit(WRONG_USAGE)
}

/** Names the node before the configuration is known. */
function nodeName(): string {
  return process.env['NODE_NAME'] || hostname().toLowerCase()
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}
