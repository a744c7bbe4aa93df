import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startAgentProcess, type AgentProcess, type Settings } from '../../support/agent-process.ts'
import { startRuntimeNode, type RuntimeNode, type RuntimeNodeOptions } from '../harness/runtime-node.ts'
import { asInTheChart } from './confinement.ts'

/** A node with an agent on it, which may do no more than in the chart: one at a time, since they share folders. */
export interface AgentNode {
  readonly node: RuntimeNode
  /** Kills the one that runs and starts another on the same folders. */
  startAgent(settings?: Settings, nodeOptions?: readonly string[]): Promise<AgentProcess>
  stop(): Promise<void>
}

/** So that a machine with a full disk can run the tests; the floor has tests of its own. */
const NO_FLOOR: Settings = { 'capture.diskFloor.percent': '0%', 'capture.diskFloor.minFree': 0 }

export async function startAgentNode(options: RuntimeNodeOptions): Promise<AgentNode> {
  const node = await startRuntimeNode(options)
  let agent: AgentProcess | undefined
  return {
    node,
    async startAgent(settings = {}, nodeOptions = []) {
      await agent?.kill9()
      const folder = join(node.workDir, 'agent')
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      agent = await startAgentProcess({
        folder,
        prefix: asInTheChart([folder, node.checkpointsDir]),
        settings: {
          'node.name': node.name,
          'checkpoints.directory': node.checkpointsDir,
          'runtime.socket': node.socketPath,
          ...NO_FLOOR,
          ...settings,
        },
        nodeOptions,
      })
      return agent
    },
    async stop() {
      await agent?.kill9()
      await node.stop()
    },
  }
}
