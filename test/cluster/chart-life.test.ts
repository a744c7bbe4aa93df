import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { archiveProblem } from '../support/archive-check.ts'
import { loadAgentImage, ROOT } from './agent-image.ts'
import { ALIVE, lookAt } from './agent-containers.ts'
import { CHECKPOINTS } from './agent-in-node.ts'
import { removePods, runCounter, runHog } from './agent-pods.ts'
import { type ArchiveFolder, emptyArchiveFolders, findArchiveFolder } from './archive-folder.ts'
import { cluster, type NodeName } from './cluster-harness.ts'
import { certificateOf, curl } from './curl.ts'
import { commandsOf } from './docs-recipes.ts'
import { agentPodOf, ask, captureIn, listCheckpoints, readyCheckpoint } from './installed-agents.ts'
import {
  forgetState,
  HELM_MS,
  INSTALL_MS,
  INSTALLATION,
  NAMESPACE,
  NODES,
  removeChart,
  STATE,
  upgradeChart,
} from './installed-chart.ts'
import { stallDump } from './stalled-dump.ts'

const [MAKE_NAMESPACE = '', LABEL_NAMESPACE = '', INSTALL = '', WAIT = ''] = INSTALLATION
const [REMOVE_STATE = '', REMOVE_NAMESPACE = ''] = commandsOf('rm -rf /host')

const job = z.looseObject({
  id: z.string(),
  state: z.string(),
  checkpoints: z.array(z.string()).default([]),
})

const HOG = { namespace: 'shop', pod: 'hog-b' }

describe('an installation with default values', () => {
  const folders: ArchiveFolder[] = []
  let objectsBefore: ReadonlySet<string>

  beforeAll(async () => {
    await cluster.up()
    await loadAgentImage()
    await forgetState()
    await emptyArchiveFolders(NODES)
    for (const node of NODES) folders.push(await findArchiveFolder(node))
    await runCounter('a')
    await runHog('b', 300)
  }, INSTALL_MS)

  afterAll(async () => {
    await removeChart()
    for (const node of NODES) await removePods(node)
    for (const folder of folders) folder.clear()
  }, HELM_MS)

  it(
    'is ready on both nodes after one command, in the namespace that docs/install.md describes',
    async () => {
      await run(MAKE_NAMESPACE)
      await run(LABEL_NAMESPACE)
      objectsBefore = new Set(await listObjects())
      await run(INSTALL)
      await run(WAIT)
      for (const node of NODES) {
        expect(await agentPodOf(node)).toMatchObject({ restarts: 0 })
        const answer = await ask(node, 'GET', '/v1/node')
        expect(answer).toMatchObject({ status: 200, body: { canCheckpoint: { state: 'yes' } } })
      }
    },
    HELM_MS,
  )

  it(
    'passes helm test, which leaves nothing behind',
    async () => {
      const before = new Set(await listObjects())
      await run(`helm test ${NAMESPACE} --namespace ${NAMESPACE} --timeout 2m`)
      await expect.poll(() => listNew(before), { timeout: 60_000 }).toEqual([])
    },
    HELM_MS,
  )

  it('runs as root without a single capability, and cannot write but where it should', async () => {
    const { name } = await agentPodOf('a')
    const evaluate = (script: string) => cluster.kubectl(['-n', NAMESPACE, 'exec', name, '--', 'node', '-p', script])
    const status = await evaluate(`require('fs').readFileSync('/proc/self/status', 'utf8')`)
    expect(status).toMatch(/^Uid:(\t0){4}$/m)
    expect(status.match(/^Cap\w+:\t0{16}$/gm)).toHaveLength(5)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    expect(status).toMatch(/^Seccomp:\t2$/m)
    await expect(evaluate(`require('fs').writeFileSync('/app/x', '')`)).rejects.toThrow(/EROFS/)
    await expect(evaluate(`require('fs').writeFileSync('/run/containerd/x', '')`)).rejects.toThrow(/EROFS/)
  })

  it(
    'is upgraded with other values and loses neither a capture in flight nor ids and pins',
    async () => {
      const { id } = await captureIn('shop', 'a', 'counter-a')
      expect(await ask('a', 'PUT', `/v1/checkpoints/${id}/pin`, { reason: 'evidence' })).toMatchObject({ status: 200 })
      const before = await listCheckpoints('a')
      expect(before).toMatchObject([{ id, pin: { by: 'us' } }])
      const old = await Promise.all(NODES.map((node) => agentPodOf(node)))
      const begun = job.parse((await ask('b', 'POST', '/v1/captures', HOG)).body)
      const resumeDump = await stallDump('b')
      onTestFinished(resumeDump)

      const upgraded = upgradeChart({ config: { log: { level: 'debug' } } })
      const leaving = `https://${old[1]?.address ?? ''}:9443`
      const admin = await certificateOf('admin')
      await expect
        .poll(() => curl(`${leaving}/v1/captures`, [...admin, '--json', JSON.stringify(HOG)]), { timeout: HELM_MS })
        .toMatchObject({ status: 503, body: { code: 'ShuttingDown' } })
      expect(await curl(`${leaving}/v1/captures/${begun.id}`, admin)).toMatchObject({ body: { state: 'running' } })
      resumeDump()
      await upgraded

      const pods = await Promise.all(NODES.map((node) => agentPodOf(node)))
      const uids = new Set([...old, ...pods].map(({ uid }) => uid))
      expect(uids.size).toBe(4)
      expect(await listCheckpoints('a')).toEqual(before)
      const ended = job.parse((await ask('b', 'GET', `/v1/captures/${begun.id}`)).body)
      expect(ended.state).toBe('succeeded')
      const found = await readyCheckpoint('b', ended.checkpoints[0] ?? '')
      expect(found).toMatchObject({ identity: { pod: 'hog-b', source: 'observed' } })
      const folder = await findArchiveFolder('b')
      expect(found.sha256).toBe(await folder.digestOf(found.fileName))
      expect(archiveProblem(`${folder.path}/${found.fileName}`)).toBeUndefined()
      expect(await lookAt('b', 'hog-b')).toEqual(ALIVE)
    },
    HELM_MS,
  )

  it(
    'is uninstalled and leaves nothing in the cluster, and archives and state on the nodes',
    async () => {
      const archives = await Promise.all(NODES.map((node) => filesIn(node, CHECKPOINTS)))
      await run(`helm uninstall ${NAMESPACE} --namespace ${NAMESPACE} --wait`)
      await expect.poll(() => listNew(objectsBefore), { timeout: 60_000 }).toEqual([])
      for (const [index, node] of NODES.entries()) {
        expect(await filesIn(node, CHECKPOINTS)).toEqual(archives[index])
        expect(await filesIn(node, STATE)).toEqual(expect.arrayContaining(['custody', 'custody-key.pem', 'index.db']))
      }
    },
    HELM_MS,
  )

  it('loses its state to the commands of docs/install.md, and the archives stay', async () => {
    const archives = await Promise.all(NODES.map((node) => filesIn(node, CHECKPOINTS)))
    await run(REMOVE_STATE.replace('busybox:1', 'localhost/busybox:1'))
    for (const [index, node] of NODES.entries()) {
      await expect.poll(() => filesIn(node, STATE), { timeout: 60_000 }).toEqual([])
      await expect
        .poll(() => filesIn(node, CHECKPOINTS))
        .toEqual(archives[index]?.filter((name) => name !== '.checkpoint-agent'))
    }
    await run(REMOVE_NAMESPACE)
  }, 180_000)
})

/** As somebody at a terminal, in the repository. */
async function run(command: string): Promise<void> {
  const words = ['bash', '-c', `cd ${ROOT}\n${command}`]
  const { code, stdout, stderr } = await cluster.runCommand(words, { timeoutMs: HELM_MS })
  if (code !== 0) throw new Error(`Cannot run "${command}": ${stderr}${stdout}`)
}

/** Everything that the API server can list, but for what comes and goes by itself. */
async function listObjects(): Promise<readonly string[]> {
  const kinds = (await cluster.kubectl(['api-resources', '--verbs=list', '-o', 'name'])).trim().split('\n')
  const asked = kinds.filter((kind) => !/^(?:events|componentstatuses|leases)/.test(kind)).join(',')
  const path = 'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\\n"}{end}'
  return (await cluster.kubectl(['get', asked, '-A', '-o', path])).trim().split('\n')
}

async function listNew(before: ReadonlySet<string>): Promise<readonly string[]> {
  return (await listObjects()).filter((name) => !before.has(name))
}

async function filesIn(node: NodeName, folder: string): Promise<string[]> {
  const { stdout } = await cluster.inNode(node, ['ls', '-A', folder])
  return stdout.split('\n').filter((name) => name !== '')
}
