import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startSimulatedRuntime } from '../../test/support/simulated-runtime.ts'
import type { DemoNode, DemoNodeOptions } from './demo-node.ts'
import { DEMO_PODS } from './demo-pods.ts'

/** About what a dump of a small container takes on a real node. */
const DUMP_MS = 150

export async function startSimulatedNode({ folder }: DemoNodeOptions): Promise<DemoNode> {
  const checkpointsDirectory = join(folder, 'checkpoints')
  mkdirSync(checkpointsDirectory, { mode: 0o700 })
  const runtime = await startSimulatedRuntime({ socketPath: join(folder, 'runtime.sock') })
  runtime.faults.always({ dumpMs: DUMP_MS })
  for (const { namespace, name, containers } of DEMO_PODS) {
    runtime.addPod({
      namespace,
      name,
      containers: containers.map((each) => ({
        name: each.name,
        memoryBytes: each.memoryBytes,
        image: 'localhost/busybox:1',
      })),
    })
  }
  const { engine, version } = runtime.personality
  return {
    runtime: `simulated ${engine} ${version}`,
    socketPath: runtime.socketPath,
    checkpointsDirectory,
    // the ids of these containers mean nothing to this machine's own cgroups
    cgroupRoot: join(folder, 'cgroup'),
    async stop() {
      await runtime[Symbol.asyncDispose]()
    },
  }
}
