import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CriClient } from '../../src/runtime/cri-client.ts'
import { type ContractSubject, describeRuntimeContract } from '../support/runtime-contract.ts'
import { startSimulatedRuntime } from '../support/simulated-runtime.ts'

const SUBJECTS = [
  { is: 'containerd 2.1.9', canCheckpoint: true, hasTaskApi: true },
  { is: 'containerd 2.4.2', canCheckpoint: true, hasTaskApi: true },
  { is: 'cri-o 1.36.3', canCheckpoint: true, hasTaskApi: false },
  { is: 'cri-o 1.36.3 crun', canCheckpoint: true, hasTaskApi: false },
  { is: 'containerd 1.6.20', canCheckpoint: false, hasTaskApi: true },
  { is: 'containerd 1.7.24', canCheckpoint: false, hasTaskApi: true },
] as const

for (const { is, canCheckpoint, hasTaskApi } of SUBJECTS) {
  const [runtimeName, version] = is.split(' ') as ['containerd' | 'cri-o', string]
  describeRuntimeContract({
    name: `simulated ${is}`,
    expects: { runtimeName, version: new RegExp(`^${version.replaceAll('.', '\\.')}$`), canCheckpoint, hasTaskApi },
    start: () => startSubject(is),
  })
}

async function startSubject(is: string): Promise<ContractSubject> {
  const folder = mkdtempSync(join(tmpdir(), 'contract-'))
  const socketPath = join(folder, 'runtime.sock')
  const simulated = await startSimulatedRuntime({ socketPath, is })
  simulated.faults.always({ pauseMs: 30, dumpMs: 150 })
  const pod = simulated.webPod()
  const runtime = new CriClient({ socketPath })
  return {
    runtime,
    socketPath,
    containers: { running: pod.container('counter').id, exited: pod.container('crash').id, missingId: 'f'.repeat(64) },
    stagingDir: folder,
    pause: async (id) => simulated.pods.find(id)?.container.pause(),
    works: async (id) => simulated.pods.find(id)?.container.canExec === true,
    down: () => simulated.stop('stale'),
    restart: () => simulated.restart(),
    stop: async () => {
      runtime.close()
      await simulated.stop()
      rmSync(folder, { recursive: true })
    },
  }
}
