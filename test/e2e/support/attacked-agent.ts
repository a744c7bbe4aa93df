import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startAgentProcess, type AgentProcess } from '../../support/agent-process.ts'
import { startSimulatedRuntime } from '../../support/simulated-runtime.ts'
import { AttackClient } from './attack-client.ts'
import type { Figures } from './attack-monitor.ts'

export const USERS = ['grace', 'mallory', 'crowd'] as const

type User = (typeof USERS)[number]

/** An agent with users, in front of a simulated runtime, with a monitor beside it. */
export interface AttackedAgent {
  readonly agent: AgentProcess
  readonly directory: string
  readonly stateDirectory: string
  readonly clients: Readonly<Record<User, AttackClient>>
  /** Ends a phase: what it cost. */
  readonly figures: () => Promise<Figures>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

const PERMISSIONS = ['list', 'get', 'create', 'update', 'delete', 'content', 'retention', 'custody']

/** The longest that the file of tokens takes; what the custody log says of the user must not grow with them. */
const CROWD_GROUPS = Array.from({ length: 2000 }, (_, index) => `group-${String(index)}-${'x'.repeat(200)}`)

const PODS = ['web-0', 'web-1', 'web-2']

export async function startAttackedAgent(): Promise<AttackedAgent> {
  const folder = mkdtempSync(join(tmpdir(), 'e2e-attacks-'))
  const directory = join(folder, 'checkpoints')
  const stateDirectory = join(folder, 'state')
  mkdirSync(directory, { mode: 0o700 })
  const runtime = await startSimulatedRuntime({ socketPath: join(folder, 'runtime.sock') })
  for (const name of PODS) runtime.addPod({ namespace: 'shop', name, containers: [{ name: 'counter' }] })
  const tokensFile = join(folder, 'tokens.json')
  writeFileSync(tokensFile, JSON.stringify({ users: USERS.map(entryOf) }))
  const agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: {
      'checkpoints.directory': directory,
      'state.directory': stateDirectory,
      'runtime.socket': runtime.socketPath,
      'server.auth.mode': 'tokens',
      'server.auth.tokensFile': tokensFile,
      // Others work faster than people do, so that the figures say something.
      'server.limits.capturesPerMinute': 10_000,
      'server.limits.changesPerMinute': 10_000,
      'capture.diskFloor.percent': '0%',
      'capture.diskFloor.minFree': 0,
      'log.level': 'info',
    },
  })
  const clientOf = (user: User) => new AttackClient(agent.port, user)
  const clients = { grace: clientOf('grace'), mallory: clientOf('mallory'), crowd: clientOf('crowd') }
  const monitor = startMonitor(agent)
  return {
    agent,
    directory,
    stateDirectory,
    clients,
    figures: () => monitor.figures(),
    async [Symbol.asyncDispose]() {
      monitor.stop()
      for (const client of Object.values(clients)) client.close()
      await agent.kill9()
      await runtime[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A user's token is its name. */
function entryOf(name: User): object {
  return {
    name,
    groups: name === 'crowd' ? CROWD_GROUPS : [],
    tokenSha256: createHash('sha256').update(name).digest('hex'),
    namespaces: ['*'],
    permissions: PERMISSIONS,
  }
}

function startMonitor({ pid, port }: AgentProcess) {
  const program = join(import.meta.dirname, 'attack-monitor.ts')
  const child = spawn(process.execPath, [program, String(pid), String(port)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting: ((figures: Figures) => void)[] = []
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.(JSON.parse(line) as Figures))
  return {
    figures: () =>
      new Promise<Figures>((resolve) => {
        waiting.push(resolve)
        child.stdin.write('\n')
      }),
    stop: () => child.kill('SIGKILL'),
  }
}
