import { mkdirSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { agentProgram, startAgentProcess, type AgentProcess } from '../test/support/agent-process.ts'

/** The agent as on a node, without a container runtime: what is measured here needs none. */
export interface RunningAgent extends Pick<AgentProcess, 'pid' | 'sigterm' | 'kill9'> {
  readonly directory: string
  /** `as built`, or `from its sources`, which takes more memory: `npm run build` makes the first. */
  readonly program: string
  /** On a connection that is kept. Throws unless the status is 200 or 404. */
  get(path: string): Promise<{ readonly status: number; readonly body: unknown }>
}

/** Its archives are those in `checkpoints` within the folder. */
export async function startAgent(folder: string): Promise<RunningAgent> {
  const directory = join(folder, 'checkpoints')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: {
      'checkpoints.directory': directory,
      'runtime.socket': join(folder, 'no-runtime.sock'),
      'log.level': 'info',
    },
  })
  const connections = new Agent({ keepAlive: true, maxSockets: 1 })
  const { pid, port } = agent
  const end = async <Outcome>(how: () => Promise<Outcome>) => {
    connections.destroy()
    return await how()
  }
  return {
    pid,
    directory,
    program: agentProgram().endsWith('dist/main.js') ? 'as built' : 'from its sources',
    get: (path) => getJson({ port, path, agent: connections }),
    sigterm: () => end(() => agent.sigterm()),
    kill9: () => end(() => agent.kill9()),
  }
}

/** How many archives are in that state. */
export async function countInState(agent: RunningAgent, state: string): Promise<number> {
  const { body } = await agent.get(`/v1/checkpoints?limit=1&state=${state}`)
  const { items, remaining } = body as { readonly items: readonly unknown[]; readonly remaining: number }
  return items.length + remaining
}

/** Waits until so many are in that state. */
export async function waitForState(agent: RunningAgent, state: string, count: number): Promise<void> {
  for (const begun = performance.now(); performance.now() - begun < PATIENCE_MS; await sleep(100)) {
    if ((await countInState(agent, state)) >= count) return
  }
  throw new Error(`Cannot go on: after ${PATIENCE_MS / 1000} s there are no ${count} archives that are ${state}`)
}

const PATIENCE_MS = 120_000

interface Target {
  readonly port: number
  readonly path: string
  readonly agent: Agent
}

async function getJson({ port, path, agent }: Target): Promise<{ status: number; body: unknown }> {
  return await new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, agent }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('error', reject)
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const status = answer.statusCode ?? 0
        if (status === 200 || status === 404) resolve({ status, body: JSON.parse(text) as unknown })
        else reject(new Error(`GET ${path} was answered ${status}: ${text}`))
      })
    })
    sent.on('error', reject)
    sent.end()
  })
}
