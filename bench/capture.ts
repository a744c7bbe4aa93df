import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { hogPod, runWebPod, type RunningPod } from '../test/e2e/harness/test-pods.ts'
import { startRuntimeNode } from '../test/e2e/harness/runtime-node.ts'
import { startAgentProcess } from '../test/support/agent-process.ts'
import { comparePaired, timed } from './paired.ts'

// Through the agent (HTTP, checks, verification and fsync included) against the bare CRI call, which writes the same
// archive and syncs nothing: the same container, by turns, real containerd and CRIU.

if (process.getuid?.() !== 0) {
  console.log('bench capture: not run: the real runtime needs root')
  process.exit(0)
}

const node = await startRuntimeNode({ containerd: '2.1', name: 'bench-capture' })
try {
  const agent = await startAgentProcess({
    folder: join(node.workDir, 'agent'),
    settings: { 'checkpoints.directory': node.checkpointsDir, 'runtime.socket': node.socketPath },
  })
  const compare = (name: string, pod: RunningPod, container: string, run: { pairs: number; bound: number }) =>
    comparePaired({
      name: `capture, ${name}`,
      peerName: 'the bare CRI call',
      ...run,
      ours: async () => {
        const millis = await timed(async () => {
          const path = `/checkpoint/${pod.namespace}/${pod.name}/${container}`
          const answer = await agent.request('POST', path)
          if (answer.status !== 200) throw new Error(`the agent answered ${answer.status}: ${answer.text}`)
        })
        removeArchives()
        return millis
      },
      peer: async () => {
        const id = pod.containers[container] ?? ''
        const location = join(node.checkpointsDir, 'bare.tar')
        const millis = await timed(() => node.admin.checkpointContainer(id, location, {}))
        removeArchives()
        return millis
      },
    })

  const web = await runWebPod(node.admin, node.placement)
  await compare('counter', web, 'counter', { pairs: 25, bound: 1.1 })
  const hog = await hogPod(node.admin, node.placement, { sizeMiB: 256 })
  await compare('256 MiB', hog, 'hog', { pairs: 9, bound: 1.05 })
  await agent.sigterm()
} finally {
  await node.stop()
}

function removeArchives(): void {
  for (const name of readdirSync(node.checkpointsDir)) {
    if (name.endsWith('.tar')) rmSync(join(node.checkpointsDir, name))
  }
}
