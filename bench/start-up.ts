import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { agentProgram, startAgentProcess } from '../test/support/agent-process.ts'
import { startSimulatedRuntime } from '../test/support/simulated-runtime.ts'
import { fillArchiveFolder } from './archive-folder.ts'
import { announceRunTime, reportBounded } from './bounds.ts'
import { comparePaired, median } from './paired.ts'

// How long a start takes until /readyz says 200, with 10,000 archives that an earlier run has read, against a server that
// can do nothing; and what the agent takes of a processor while nobody asks for anything.

const ARCHIVES = 10_000
const PAIRS = 5
const READY_BOUND_MS = 1_000
/** So many starts of the peer. */
const RATIO_BOUND = 8
/** Then what it has compiled is written, and the directory compared with the index. */
const SETTLE_MS = 11_000
const IDLE_MS = 5_000
const IDLE_ROUNDS = 3
const IDLE_BOUND_PERCENT = 0.5
const PATIENCE_MS = 120_000
/** Of /proc/<pid>/stat. */
const TICKS_PER_SECOND = 100

const EMPTY_SERVER = `const app = require('express')()
app.get('/readyz', (req, res) => res.json({ status: 'ok' }))
app.listen(process.argv[1])`

/** The schedule and the watch of the disk as they ship; and nothing to remove, whatever the date and the disk. */
const KEEPS_ALL = {
  rules: [{ match: { namespace: 'shop' }, maxCount: { perNamespace: 2 * ARCHIVES } }],
  disk: { highWatermark: '100%', lowWatermark: '99%' },
}

announceRunTime('start-up')
const folder = mkdtempSync(join(tmpdir(), 'start-up-'))
const runtime = await startSimulatedRuntime({ socketPath: join(folder, 'runtime.sock') })
const program = agentProgram()
try {
  fillArchiveFolder(join(folder, 'checkpoints'), ARCHIVES)
  await readOnce()
  const { oursMs } = await comparePaired({
    name: `start-up, with ${ARCHIVES} archives known`,
    ours: () => timeStart([program, '--config', join(folder, 'agent.yaml')], join(folder, 'agent.sock')),
    peer: () => timeStart(['--eval', EMPTY_SERVER, join(folder, 'peer.sock')], join(folder, 'peer.sock')),
    peerName: 'node with an empty express server',
    pairs: PAIRS,
    bound: RATIO_BOUND,
  })
  reportBounded({
    name: 'start-up, until it is ready',
    value: oursMs,
    bound: READY_BOUND_MS,
    unit: ' ms',
    note: `the agent ${program.endsWith('.js') ? 'as built' : 'from its sources'}, median of ${PAIRS}`,
  })
  await measureIdle()
} finally {
  await runtime[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
}

/** A first run that reads and hashes them all. */
async function readOnce(): Promise<void> {
  const agent = await startAgentProcess({
    folder,
    settings: {
      'checkpoints.directory': join(folder, 'checkpoints'),
      'runtime.socket': runtime.socketPath,
      'server.tls.selfSigned': true,
      'log.level': 'info',
    },
    retention: KEEPS_ALL,
  })
  for (const begun = performance.now(); ; await sleep(200)) {
    const answer = await agent.request('GET', '/v1/checkpoints?state=ready&limit=1', { overSocket: true })
    const { items, remaining } = answer.json<{ readonly items: readonly unknown[]; readonly remaining: number }>()
    if (items.length + remaining === ARCHIVES) break
    if (performance.now() - begun > PATIENCE_MS) {
      throw new Error(`Cannot go on: after ${PATIENCE_MS / 1000} s not all archives are ready`)
    }
  }
  await sleep(SETTLE_MS)
  await agent.sigterm()
}

interface Started {
  readonly pid: number
  readonly millis: number
  readonly stop: () => Promise<void>
}

async function timeStart(args: readonly string[], socketPath: string): Promise<number> {
  const { millis, stop } = await start(args, socketPath)
  await stop()
  return millis
}

/** From the start of the process to its first 200. It ends with this one. */
async function start(args: readonly string[], socketPath: string): Promise<Started> {
  const begun = performance.now()
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, ...args], {
    cwd: join(import.meta.dirname, '..'),
    stdio: 'ignore',
  })
  const ended = once(child, 'exit')
  while (!(await isReady(socketPath))) {
    if (child.exitCode !== null) throw new Error(`Cannot start "${args.join(' ')}": it has ended`)
    await sleep(2)
  }
  return {
    pid: child.pid ?? 0,
    millis: performance.now() - begun,
    stop: async () => {
      child.kill('SIGTERM')
      await ended
      rmSync(socketPath, { force: true })
    },
  }
}

function isReady(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const sent = request({ socketPath, path: '/readyz', agent: false }, (answer) => {
      answer.resume()
      answer.on('end', () => {
        resolve(answer.statusCode === 200)
      })
    })
    sent.on('error', () => {
      resolve(false)
    })
    sent.end()
  })
}

async function measureIdle(): Promise<void> {
  const { pid, stop } = await start([program, '--config', join(folder, 'agent.yaml')], join(folder, 'agent.sock'))
  try {
    await sleep(SETTLE_MS)
    const percents: number[] = []
    for (let round = 0; round < IDLE_ROUNDS; round += 1) {
      const [before, begun] = [cpuSeconds(pid), performance.now()]
      await sleep(IDLE_MS)
      percents.push((100 * (cpuSeconds(pid) - before)) / ((performance.now() - begun) / 1000))
    }
    reportBounded({
      name: `start-up, at rest with ${ARCHIVES} archives`,
      value: median(percents),
      bound: IDLE_BOUND_PERCENT,
      unit: ' % of a processor',
      note: `median of ${IDLE_ROUNDS} times ${IDLE_MS / 1000} s: ${percents.map((percent) => percent.toFixed(2)).join(', ')}`,
    })
  } finally {
    await stop()
  }
}

/** Of all its threads. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [user, system] = [fields[11], fields[12]]
  return (Number(user) + Number(system)) / TICKS_PER_SECOND
}
