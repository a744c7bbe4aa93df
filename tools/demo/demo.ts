#!/usr/bin/env node
/** `make demo`: the agent on this machine, in front of three small pods. Ends with Ctrl-C and leaves nothing. */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { askAgent } from './ask-agent.ts'
import { type DemoAgent, endOfLog, startDemoAgent } from './demo-agent.ts'
import { makeDemoFolder } from './demo-folder.ts'
import { chooseMode, DemoError, type DemoMode } from './demo-mode.ts'
import type { DemoNode } from './demo-node.ts'
import { DEMO_PODS, describePod } from './demo-pods.ts'
import { followLog } from './log-events.ts'
import { nextSteps } from './next-steps.ts'
import { startRealNode } from './real-node.ts'
import { findRealObstacle, isOnPath } from './real-obstacle.ts'
import { openScreen } from './screen.ts'
import { startSimulatedNode } from './simulated-node.ts'

const leaving = new AbortController()
const hurry = new AbortController()
const screen = openScreen(() => {
  leaving.abort()
})

endOnSignals()
try {
  const mode = await chooseMode(process.env['DEMO'] ?? '', findRealObstacle)
  screen.heading(mode.headline)
  screen.line()
  await runDemo(mode)
  screen.line('Everything of the demo is gone again: no process, mount or file of it is left.')
} catch (error) {
  process.exitCode = error instanceof DemoError ? error.exitCode : 1
  process.stderr.write(`${describeError(error)}\n`)
}
// a descriptor that somebody else's code still holds must not keep the demo from ending
process.exit()

/** Returns when the user has left and everything is gone. Throws when something went wrong, or did not go. */
async function runDemo(mode: DemoMode): Promise<void> {
  const folder = makeDemoFolder()
  try {
    await using stack = new AsyncDisposableStack()
    try {
      await play(mode, folder.path, stack)
    } catch (error) {
      // what was under way when the user left has failed of that; a Ctrl-C reaches programs that were running, too
      if (!leaving.signal.aborted || error instanceof DemoError) throw error
    }
  } finally {
    folder.remove()
  }
}

async function play(mode: DemoMode, folder: string, stack: AsyncDisposableStack): Promise<void> {
  const options = { folder, screen, leaving: leaving.signal, hurry: hurry.signal }
  const node = await (mode.kind === 'real' ? startRealNode(options) : startSimulatedNode(options))
  stack.defer(() => node.stop())
  const agent = await startAgent(node, folder)
  stack.defer(() => agent.stop(hurry.signal))
  const archivePath = await takeFirstCheckpoint(agent)
  showWhatRuns(node, agent)
  showNextSteps(agent, archivePath)
  await untilLeaving(agent)
}

async function startAgent(node: DemoNode, folder: string): Promise<DemoAgent> {
  return await screen.step('Starting the agent', () =>
    startDemoAgent({
      node,
      folder,
      leaving: leaving.signal,
      onPortTaken: (port) => {
        screen.line(`    port ${port} is taken, perhaps by another demo: trying ${port + 1}`)
      },
    }),
  )
}

/** So that there is an archive to look at, and so that a machine which cannot do it says so now. */
async function takeFirstCheckpoint(agent: DemoAgent): Promise<string> {
  return await screen.step('Taking a first checkpoint, of shop/web-0/counter', async () => {
    // so that the counter has something in its file
    await sleep(1000, undefined, { signal: leaving.signal })
    const path = '/checkpoint/shop/web-0/counter'
    const { status, body } = await askAgent(agent.socketPath, 'POST', path, leaving.signal)
    const archive = status === 200 ? firstItem(JSON.parse(body)) : undefined
    if (archive !== undefined) return archive
    throw new DemoError(
      `Cannot take a checkpoint on this machine: ${body}\nDEMO=simulated shows the agent with a runtime that only plays its part`,
    )
  })
}

function firstItem(answer: unknown): string | undefined {
  if (typeof answer !== 'object' || answer === null || !('items' in answer) || !Array.isArray(answer.items))
    return undefined
  const [first] = answer.items as unknown[]
  return typeof first === 'string' ? first : undefined
}

function showWhatRuns(node: DemoNode, agent: DemoAgent): void {
  screen.line()
  screen.heading('Running')
  screen.line(`  agent     http://127.0.0.1:${agent.port} and ${agent.socketPath}`)
  screen.line(`  settings  ${agent.configPath}`)
  screen.line(`  log       ${agent.logPath}`)
  screen.line(`  archives  ${node.checkpointsDirectory}`)
  screen.line(`  runtime   ${node.runtime}`)
  for (const pod of DEMO_PODS) screen.line(`  pod       ${describePod(pod)}`)
}

function showNextSteps(agent: DemoAgent, archivePath: string): void {
  const { env } = process
  const steps = nextSteps({
    port: agent.port,
    socketPath: agent.socketPath,
    archivePath,
    hasJq: isOnPath('jq'),
    hasProxy: ['http_proxy', 'all_proxy', 'ALL_PROXY'].some((name) => (env[name] ?? '') !== ''),
    needsSudo: process.getuid?.() === 0 && env['SUDO_USER'] !== undefined && env['SUDO_USER'] !== 'root',
  })
  screen.line()
  screen.heading('Next, in another terminal')
  if (!isOnPath('curl')) screen.line('  (these need curl, which is not installed here)')
  for (const { title, command } of steps) {
    screen.line()
    screen.line(`${title}:`)
    screen.line(`  ${command}`)
  }
  screen.line()
  screen.heading('Ctrl-C ends the demo')
}

/** Shows what the agent does meanwhile. Throws a DemoError when it ends by itself. */
async function untilLeaving(agent: DemoAgent): Promise<void> {
  const events = followLog(agent.logPath, (line) => {
    screen.line(line)
  })
  const left = new Promise<'left'>((resolve) => {
    if (leaving.signal.aborted) resolve('left')
    leaving.signal.addEventListener('abort', () => {
      resolve('left')
    })
  })
  const first = await Promise.race([left, agent.ended])
  events.stop()
  if (first === 'left' || leaving.signal.aborted) return
  throw new DemoError(
    `The agent has ended by itself; the end of its log:\n${endOfLog(readFileSync(agent.logPath, 'utf8'))}`,
  )
}

function endOnSignals(): void {
  let times = 0
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      times += 1
      if (times === 1) {
        screen.line()
        screen.line('Ending: the agent first, then the pods and all that was made for them ...')
        leaving.abort()
      } else if (times === 2) {
        screen.line('Hurrying: what does not end at once is killed; once more leaves it where it is ...')
        leaving.abort()
        hurry.abort()
      } else {
        process.exit(130)
      }
    })
  }
}

function describeError(error: unknown): string {
  if (error instanceof SuppressedError) return `${describeError(error.suppressed)}\n${describeError(error.error)}`
  if (error instanceof DemoError) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
