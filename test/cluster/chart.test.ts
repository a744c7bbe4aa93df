import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { z } from 'zod'
import { CHART, render, renderScenario, SCENARIOS } from '../charts/rendered-chart.ts'
import { CHECKPOINTS } from './agent-in-node.ts'
import { removePods, runCounter, runHog } from './agent-pods.ts'
import { type ArchiveFolder, findArchiveFolder } from './archive-folder.ts'
import { cluster, type NodeName } from './cluster-harness.ts'
import type { NodeAnswer } from './node-request.ts'

const NODES: readonly NodeName[] = ['a', 'b']
const NAMESPACE = 'checkpoint-agent'
const STATE = '/var/lib/checkpoint-agent'
const SOCKET = '/run/checkpoint-agent/agent.sock'
const INSTANCE = `app.kubernetes.io/instance=${NAMESPACE}`
const IMAGE = 'image.repository=localhost/checkpoint-agent,image.tag=dev,image.pullPolicy=Never'
const BUILD_MS = 900_000
const HELM_MS = 400_000

/** Kinds that come with an operator or with OpenShift; no API server without them can say anything about these. */
const OF_OTHERS = /^(?:Certificate|PodMonitor|PrometheusRule|SecurityContextConstraints|ServiceMonitor)$/

/** The socket too, so that the tests can be root on the node. Without the mode kubernetes there is only that. */
const VALUES = ['--set', `config.server.socket=${SOCKET}`]

const OURS = 'checkpoint-agent.dev'
const AGENT = 'system:serviceaccount:ckpt:agent-checkpoint-agent'

const list = z.looseObject({ items: z.array(z.looseObject({ fileName: z.string(), state: z.string() })) })
const job = z.looseObject({ id: z.string(), state: z.string() })

beforeAll(async () => {
  await cluster.up()
  await cluster.apply(namespace('ckpt'))
})
afterAll(() => cluster.kubectl(['delete', 'namespace', 'ckpt', '--wait=false']))

describe('the real API server', () => {
  it.each(SCENARIOS)('takes what helm makes of the chart: %s', async (scenario) => {
    const manifests = renderScenario(scenario).filter(({ kind }) => !OF_OTHERS.test(kind))
    const text = manifests.map((manifest) => stringify(manifest)).join('---\n')
    const flags = ['--dry-run=server', '--validate=strict', '-f', '-']
    const answer = await cluster.kubectl(['apply', ...flags], { input: text })
    expect(answer.match(/created \(server dry run\)/g)).toHaveLength(manifests.length)
  })
})

describe('the roles of the chart, as the real API server understands them', () => {
  let manifest = ''

  beforeAll(async () => {
    const roles = renderScenario('access').filter(({ kind }) => /Role|ServiceAccount/.test(kind))
    manifest = roles.map((role) => stringify(role)).join('---\n')
    await cluster.apply(manifest)
    const bindings = { editor: 'edit', viewer: 'checkpoint-viewer', responder: 'checkpoint-forensics' }
    await cluster.apply(
      Object.entries(bindings)
        .map(([user, role]) => roleBinding(user, role))
        .join('---\n'),
    )
  })
  afterAll(() => cluster.kubectl(['delete', '--ignore-not-found', '-f', '-'], { input: manifest }))

  it.each([
    { who: 'a responder', user: 'responder', may: 'get', what: `${OURS}/checkpoints/proxy`, answer: true },
    { who: 'a responder', user: 'responder', may: 'delete', what: `${OURS}/checkpoints`, answer: false },
    { who: 'a viewer', user: 'viewer', may: 'list', what: `${OURS}/checkpoints`, answer: true },
    { who: 'a viewer', user: 'viewer', may: 'create', what: `${OURS}/checkpoints`, answer: false },
    { who: 'an editor', user: 'editor', may: 'create', what: `${OURS}/checkpoints`, answer: true },
    { who: 'an editor', user: 'editor', may: 'get', what: `${OURS}/checkpoints/proxy`, answer: false },
    { who: 'an editor', user: 'editor', may: 'get', what: `${OURS}/checkpointnodes/custody`, answer: false },
    { who: 'a group', group: 'incident-response', may: 'create', what: '/pods/portforward', answer: true },
    { who: 'a group', group: 'incident-response', may: 'get', what: '/pods', answer: true },
    { who: 'a group', group: 'incident-response', may: 'create', what: '/pods/exec', answer: false },
    { who: 'a group', group: 'incident-response', may: 'list', what: `${OURS}/checkpoints`, answer: false },
    { who: 'the agent', user: AGENT, may: 'create', what: 'authentication.k8s.io/tokenreviews', answer: true },
    { who: 'the agent', user: AGENT, may: 'list', what: '/pods', answer: false },
    { who: 'the agent', user: AGENT, may: 'get', what: '/secrets', answer: false },
  ])('$who: $may $what: $answer', async ({ user, group, may, what, answer }) => {
    // what is aggregated, a controller joins
    await expect.poll(() => isAllowed({ user, group, verb: may, what })).toBe(answer)
  })
})

describe('Pod Security of the real API server', () => {
  beforeAll(() => cluster.apply(namespace('strict', { 'pod-security.kubernetes.io/warn': 'restricted' })))
  afterAll(() => cluster.kubectl(['delete', 'namespace', 'strict', '--wait=false']))

  it('has nothing against the pods but the hostPaths and the user root', async () => {
    const daemonSet = render('--namespace', 'strict').find(({ kind }) => kind === 'DaemonSet')
    const flags = ['--dry-run=server', '--warnings-as-errors', '-f', '-']
    const answer = cluster.kubectl(['apply', ...flags], { input: stringify(daemonSet) })
    await expect(answer).rejects.toThrow(
      'would violate PodSecurity "restricted:latest": ' +
        'restricted volume types (volumes "checkpoints", "state", "runtime" use restricted volume type "hostPath"), ' +
        'runAsNonRoot != true (pod or container "agent" must set securityContext.runAsNonRoot=true), ' +
        'runAsUser=0 (container "agent" must not set runAsUser=0)\n',
    )
  })
})

describe('the chart, installed', () => {
  const archives = { a: '', b: '' }
  const folders: ArchiveFolder[] = []

  beforeAll(async () => {
    await loadImage()
    await cluster.apply(namespace(NAMESPACE))
    await forgetState()
    for (const node of NODES) folders.push(await findArchiveFolder(node))
    await runCounter('a')
    await runHog('b', 400)
    await helm('install', NAMESPACE, CHART, '--set', IMAGE, ...VALUES)
  }, BUILD_MS + HELM_MS)

  afterAll(async () => {
    await cluster.runCommand(['helm', 'uninstall', NAMESPACE, '-n', NAMESPACE, '--wait'], { timeoutMs: HELM_MS })
    for (const node of NODES) await removePods(node)
    for (const folder of folders) folder.clear()
    await forgetState()
    await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--wait=false'])
  }, HELM_MS)

  it('is ready on both nodes', async () => {
    await allAreReady()
    const pods = await cluster.kubectl(['-n', NAMESPACE, 'get', 'pods', '-l', INSTANCE, '-o', POD_LINE])
    expect(pods.trim().split('\n').toSorted()).toEqual(['node-a true', 'node-b true'])
    for (const node of NODES)
      expect(JSON.parse((await ask(node, 'GET', '/v1/node')).body)).toMatchObject({ canCheckpoint: { state: 'yes' } })
  })

  it('the agent is root without a single capability, and cannot write but where it should', async () => {
    const [pod = ''] = (await cluster.kubectl(['-n', NAMESPACE, 'get', 'pods', '-l', INSTANCE, '-o', 'name'])).split(
      '\n',
    )
    const run = (script: string) => cluster.kubectl(['-n', NAMESPACE, 'exec', pod, '--', 'node', '-p', script])
    const status = await run(`require('fs').readFileSync('/proc/self/status', 'utf8')`)
    expect(status).toMatch(/^Uid:(\t0){4}$/m)
    expect(status.match(/^Cap\w+:\t0{16}$/gm)).toHaveLength(5)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    expect(status).toMatch(/^Seccomp:\t2$/m)
    await expect(run(`require('fs').writeFileSync('/app/x', '')`)).rejects.toThrow(/EROFS/)
    await expect(run(`require('fs').writeFileSync('/run/containerd/x', '')`)).rejects.toThrow(/EROFS/)
  })

  it('takes a checkpoint and lists it', async () => {
    const answer = await ask('a', 'POST', '/v1/captures?wait=true', { namespace: 'shop', pod: 'counter-a' })
    expect(answer).toMatchObject({ status: 201 })
    archives.a = await readyArchive('a', 'counter-a')
  })

  it(
    'an upgrade loses neither the capture in flight nor the list',
    async () => {
      const before = list.parse(JSON.parse((await ask('a', 'GET', '/v1/checkpoints')).body))
      const begun = await ask('b', 'POST', '/v1/captures', { namespace: 'shop', pod: 'hog-b' })
      const { id } = job.parse(JSON.parse(begun.body))
      await helm('upgrade', NAMESPACE, CHART, '--set', IMAGE, ...VALUES, '--set', 'config.log.level=debug')
      await allAreReady()
      expect(list.parse(JSON.parse((await ask('a', 'GET', '/v1/checkpoints')).body))).toEqual(before)
      expect(job.parse(JSON.parse((await ask('b', 'GET', `/v1/captures/${id}`)).body)).state).toBe('succeeded')
      archives.b = await readyArchive('b', 'hog-b')
    },
    HELM_MS,
  )

  it(
    'uninstalling leaves nothing in the cluster, and archives and state on the nodes',
    async () => {
      await cluster.runCommand(['helm', 'uninstall', NAMESPACE, '-n', NAMESPACE, '--wait'], { timeoutMs: HELM_MS })
      const kinds = (await cluster.kubectl(['api-resources', '--verbs=list', '-o', 'name'])).trim().split('\n')
      const asked = kinds.filter((kind) => !/^(?:events|componentstatuses)/.test(kind)).join(',')
      await expect
        .poll(() => cluster.kubectl(['get', asked, '-A', '-l', INSTANCE, '-o', 'name', '--ignore-not-found']), {
          timeout: 60_000,
        })
        .toBe('')
      for (const node of NODES) {
        expect(await filesIn(node, CHECKPOINTS)).toContain(archives[node])
        expect(await filesIn(node, STATE)).toEqual(expect.arrayContaining(['custody', 'custody-key.pem', 'index.db']))
      }
    },
    HELM_MS,
  )

  it('and the command of docs/operations.md removes the state', async () => {
    await cluster.runCommand(['bash', '-c', removalCommand()], { timeoutMs: 120_000 })
    for (const node of NODES) {
      await expect.poll(() => filesIn(node, STATE), { timeout: 60_000 }).toEqual([])
      expect(await filesIn(node, CHECKPOINTS)).toContain(archives[node])
    }
  }, 180_000)
})

const POD_LINE = 'jsonpath={range .items[*]}{.spec.nodeName} {.status.containerStatuses[0].ready}{"\\n"}{end}'

async function loadImage(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'checkpoint-agent-image-'))
  try {
    const archive = join(folder, 'image.tar')
    const command = ['--no-print-directory', 'image', `OUT=${archive}`]
    execFileSync('make', command, { cwd: join(import.meta.dirname, '../..'), stdio: 'inherit' })
    await cluster.loadImages(archive)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** With the label that docs/operations.md gives it. */
function namespace(name: string, labels: object = { 'pod-security.kubernetes.io/enforce': 'privileged' }): string {
  return stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
}

function roleBinding(user: string, clusterRole: string): string {
  return stringify({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: user, namespace: 'ckpt' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: clusterRole },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
  })
}

interface Asked {
  readonly user?: string | undefined
  readonly group?: string | undefined
  readonly verb: string
  /** `group/resource` or `group/resource/subresource`. */
  readonly what: string
}

/** In the namespace ckpt. */
async function isAllowed({ user = 'somebody', group: member, verb, what }: Asked): Promise<boolean> {
  const [group, resource, subresource] = what.split('/')
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user,
      groups: member === undefined ? [] : [member],
      resourceAttributes: {
        namespace: 'ckpt',
        verb,
        group,
        resource,
        ...(subresource === undefined ? {} : { subresource }),
      },
    },
  }
  const flags = ['-o', 'jsonpath={.status.allowed}', '-f', '-']
  return (await cluster.kubectl(['create', ...flags], { input: stringify(review) })) === 'true'
}

async function helm(...args: readonly string[]): Promise<void> {
  const command = ['helm', ...args, '--namespace', NAMESPACE, '--wait', '--timeout', '5m']
  const { code, stdout, stderr } = await cluster.runCommand(command, { timeoutMs: HELM_MS })
  if (code !== 0) throw new Error(`helm ${args[0] ?? ''}: ${stderr}${stdout}\n${await whatPodsSay()}`)
}

/** helm is content when as many agents are missing as an upgrade may replace at once: with two nodes, one. */
async function allAreReady(): Promise<void> {
  await cluster.kubectl(['-n', NAMESPACE, 'rollout', 'status', 'daemonset', NAMESPACE], { timeoutMs: HELM_MS })
}

async function whatPodsSay(): Promise<string> {
  const asks = [
    ['get', 'pods', '-o', 'wide'],
    ['logs', '-l', INSTANCE, '--tail', '20', '--prefix'],
    ['get', 'events'],
  ]
  const answers = asks.map((args) => cluster.runCommand(['kubectl', '-n', NAMESPACE, ...args]))
  return (await Promise.all(answers)).map(({ stdout, stderr }) => stdout + stderr).join('\n')
}

/** As root on the node. */
async function ask(node: NodeName, method: string, path: string, body?: object): Promise<NodeAnswer> {
  const json = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  return cluster.httpInNode(node, `UNIX-CONNECT:${SOCKET}`, path, { method, ...json })
}

/** The one archive of a pod, once its digest is known. */
async function readyArchive(node: NodeName, pod: string): Promise<string> {
  const find = async () => list.parse(JSON.parse((await ask(node, 'GET', `/v1/checkpoints?pod=${pod}`)).body)).items
  await expect.poll(find, { timeout: 60_000 }).toMatchObject([{ state: 'ready' }])
  return (await find())[0]?.fileName ?? ''
}

async function filesIn(node: NodeName, folder: string): Promise<string[]> {
  const { stdout } = await cluster.inNode(node, ['ls', '-A', folder])
  return stdout.split('\n').filter((name) => name !== '')
}

async function forgetState(): Promise<void> {
  for (const node of NODES) await cluster.inNode(node, ['rm', '-rf', STATE])
}

/** The loop of the page, with the image that this cluster has. */
function removalCommand(): string {
  const page = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8')
  const [, loop] = /^\$ (for node in [\s\S]*?\n {2}done)$/m.exec(page) ?? []
  if (loop === undefined) throw new Error('Cannot find the command that removes the state in docs/operations.md')
  return loop.replace('busybox:1', 'localhost/busybox:1')
}
