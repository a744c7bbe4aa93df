#!/usr/bin/env node
// oxlint-disable-next-line import/no-unassigned-import -- it begins the program anew, and has nothing to give
import './config/small-process.ts'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import type { Command } from './config/command-line.ts'
import type { Config } from './config/config.ts'
import { AgentError, errorText } from './shared/errors.ts'

// All but the least is imported late: what stands above is read twice, before the program begins anew and after.

await main()

async function main(): Promise<void> {
  await checkNodeOrEnd()
  const version = readVersion()
  const command = await readCommandOrEnd(version)
  if (command.kind === 'verify-custody') {
    await verifyCustodyOrEnd(command.argv)
    return
  }
  if (command.kind === 'print') {
    process.stdout.write(command.text)
    return
  }
  try {
    stopOnSignal(await run(command.config, version))
  } catch (error) {
    endWithError(error)
  }
}

async function checkNodeOrEnd(): Promise<void> {
  const { assertNodeVersion } = await import('./config/node-version.ts')
  try {
    assertNodeVersion()
  } catch (error) {
    endWithError(error)
  }
}

async function run(config: Config, version: string) {
  const { useCompileCache } = await import('./config/compile-cache.ts')
  useCompileCache(config.state.directory)
  const { runAgent } = await import('./run-agent.ts')
  return await runAgent(config, version)
}

async function verifyCustodyOrEnd(argv: readonly string[]): Promise<void> {
  const { runVerifyCommand } = await import('./custody/verify-command.ts')
  try {
    const { text, exitCode } = await runVerifyCommand(argv)
    process.stdout.write(text)
    process.exitCode = exitCode
  } catch (error) {
    endWithError(error, 2)
  }
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
