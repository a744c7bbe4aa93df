import { CriClient } from '../../src/runtime/cri-client.ts'
import { describeRuntimeContract, type ContractSubject } from '../support/runtime-contract.ts'
import type { ContainerdLine } from './harness/containerd-config.ts'
import { startRuntimeNode } from './harness/runtime-node.ts'
import { runWebPod } from './harness/test-pods.ts'
import { tryExec } from './support/container-checks.ts'

const LINES: readonly { readonly containerd: ContainerdLine; readonly canCheckpoint: boolean }[] = [
  { containerd: '2.1', canCheckpoint: true },
  { containerd: '2.4', canCheckpoint: true },
  { containerd: '1.6', canCheckpoint: false },
]

for (const { containerd, canCheckpoint } of LINES) {
  describeRuntimeContract({
    name: `real containerd ${containerd}`,
    expects: {
      runtimeName: 'containerd',
      version: new RegExp(`^v?${containerd.replace('.', '\\.')}\\.`),
      canCheckpoint,
      hasTaskApi: true,
    },
    start: () => startSubject(containerd),
  })
}

async function startSubject(containerd: ContainerdLine): Promise<ContractSubject> {
  const node = await startRuntimeNode({ containerd, name: `contract-${containerd.replace('.', '-')}` })
  const pod = await runWebPod(node.admin, node.placement)
  const runtime = new CriClient({ socketPath: node.socketPath })
  return {
    runtime,
    socketPath: node.socketPath,
    containers: { running: pod.containers.counter, exited: pod.containers.crash, missingId: 'f'.repeat(64) },
    stagingDir: node.checkpointsDir,
    works: async (id) => (await tryExec(node, id)) === 'works',
    down: () => node.killContainerd(),
    restart: () => node.restartContainerd(),
    stop: async () => {
      runtime.close()
      await node.stop()
    },
  }
}
