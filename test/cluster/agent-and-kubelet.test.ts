import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RawAnswer } from '../http/raw-request.ts'
import { archiveProblem } from '../support/archive-check.ts'
import { DIFFERENCES } from './agent-differences.ts'
import { exchangeOnce, type Destination } from './agent-exchange.ts'
import { CHECKPOINTS, forwardToNode, startAgentInNode, type AgentInNode } from './agent-in-node.ts'
import { kubectl, removePods, runPodsInAllStates } from './agent-pods.ts'
import { request as requestOf, toBytes, type ComparedRequest } from './agent-request.ts'
import { REQUESTS } from './agent-requests.ts'
import { cluster, type NodeName } from './cluster-harness.ts'

const NODES: readonly NodeName[] = ['a', 'b']

const COMPARED_HEADERS = ['content-type', 'allow', 'location', 'x-content-type-options', 'www-authenticate']

const ARCHIVE = /checkpoint-(\S+)_(\S+)-(\S+)-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)\.tar/

describe('what is asked', () => {
  it('is 40 recorded requests and more than 60 others, each under a name of its own', () => {
    expect(REQUESTS.filter(({ recorded }) => recorded !== undefined)).toHaveLength(40)
    expect(REQUESTS.length).toBeGreaterThan(100)
    expect(new Set(REQUESTS.map(({ name }) => name)).size).toBe(REQUESTS.length)
  })

  it('shows every difference that is meant to be, or a test elsewhere does', () => {
    const shown = new Set<string>(REQUESTS.flatMap(({ differs }) => (differs === undefined ? [] : [differs.in])))
    const others = Object.entries(DIFFERENCES).filter(([key]) => !shown.has(key))
    expect(others.map(([, { shownIn }]) => shownIn?.filter((path) => existsSync(path)) ?? [])).toEqual(
      others.map(([, { shownIn }]) => shownIn),
    )
  })

  it('differs on purpose as docs/reference/kubelet-endpoint.md says', () => {
    const page = readFileSync('docs/reference/kubelet-endpoint.md', 'utf8')
    const [, table = ''] = page.split('| situation | kubelet | agent | reason |\n|---|---|---|---|\n')
    const rows = table.split('\n').filter((line) => line.startsWith('|'))
    const expected = Object.values(DIFFERENCES).map(({ what, kubelet, agent, why }) => [what, kubelet, agent, why])
    expect(rows.map((row) => row.slice(2, -2).split(' | '))).toEqual(expected)
  })
})

/** The two that are compared, on one node. */
interface Side {
  readonly node: NodeName
  readonly agent: AgentInNode
  readonly kubelet: Destination
  readonly anonymousKubelet: Destination
  /** The node's folder of archives, as this machine sees it. */
  readonly checkpoints: string
  stop(): Promise<void>
}

describe('the agent beside the kubelets of both nodes', () => {
  let sides: readonly Side[] = []
  const archives = new Set<string>()

  beforeAll(async () => {
    await cluster.up()
    sides = await Promise.all(NODES.map(startSide))
  })

  afterAll(async () => {
    await Promise.all(sides.map((side) => side.stop()))
    for (const path of archives) rmSync(path, { force: true })
  })

  it.each(REQUESTS)('$name', async (template) => {
    const compared = await Promise.all(NODES.map((node) => compare(sideOf(node), template)))
    expect(compared.map(({ found }) => found)).toEqual(compared.map(({ expected }) => expected))
  })

  it.each(NODES)('tells why a dump fails in the words of the kubelet, node %s', async (node) => {
    const { ours, theirs } = await askBoth(sideOf(node), requestNamed('container main of talker'))
    const body: unknown = expect.stringMatching(/\(rpc error: code = Unknown desc = .*criu/)
    expect(theirs).toMatchObject({ status: 500, body })
    expect(comparable(ours)).toEqual(comparable(theirs))
  })

  it.each(NODES)('names its requests as the kubelet does not, node %s', async (node) => {
    const { ours, theirs } = await askBoth(sideOf(node), requestNamed('recorded: container-not-running'))
    expect(ours.headers).toHaveProperty('x-request-id', expect.stringMatching(/^\S{8,}$/))
    expect(theirs.headers).not.toHaveProperty('x-request-id')
  })

  it.each(NODES)('answers on its unix socket as on TCP, node %s', async (node) => {
    const socket = await forwardToNode(node, `agent-socket-${node}`, 'UNIX-CONNECT:/run/checkpoint-agent/agent.sock')
    for (const name of ['recorded: get', 'recorded: container-not-running', 'recorded: dotdot']) {
      const bytes = toBytes(inNode(requestNamed(name), node))
      const expected = await exchangeOnce(sideOf(node).kubelet, bytes)
      expect(comparable(await exchangeOnce(socket, bytes))).toEqual(comparable(expected))
    }
    await socket.stop()
  })

  it.each(NODES)('writes the archive that the kubelet writes, node %s', async (node) => {
    const { kubelet, agent, checkpoints } = sideOf(node)
    const bytes = toBytes(inNode(requestNamed('container main of quiet'), node))
    const files: string[] = []
    for (const destination of [kubelet, agent]) {
      const { status, body } = await exchangeOnce(destination, bytes)
      expect(status).toBe(200)
      files.push(join(checkpoints, archiveIn(body)))
      // the next one gets a second of its own
      await sleep(1100)
    }
    const [theirs = '', ours = ''] = files
    for (const file of files) archives.add(file)
    expect(ours).not.toBe(theirs)
    const expected = { name: `checkpoint-quiet-${node}_shop-main-TIME.tar`, mode: 0o600, uid: 0 }
    expect(files.map(fileOf)).toEqual([expected, expected])
    expect(files.map(archiveProblem)).toEqual([undefined, undefined])
    const members = membersOf(theirs)
    expect(members.length).toBeGreaterThan(20)
    expect(membersOf(ours)).toEqual(members)
  })

  // last: the runtime has up to a minute from the beginning
  it.each(NODES)('forgets a deleted pod once the runtime has, node %s', async (node) => {
    const gone = requestOf('a deleted pod', '/checkpoint/shop/gone-NODE/main')
    const answers = async () => {
      const { ours, theirs } = await askBoth(sideOf(node), gone)
      return { kubelet: summaryOf(theirs), agent: summaryOf(ours) }
    }
    const remains = `500 checkpointing of shop/gone-${node}/main failed (container main not found)`
    expect([remains, '404 pod does not exist']).toContain((await answers()).agent)
    const expected = { kubelet: '404 pod does not exist', agent: '404 pod does not exist' }
    await expect.poll(answers, { timeout: 120_000, interval: 500 }).toEqual(expected)
  })

  /** Where the two are meant to differ they must: a difference that is gone has no place in the table. */
  async function compare(side: Side, template: ComparedRequest): Promise<{ found: object; expected: object }> {
    const { ours, theirs } = await askBoth(side, template)
    const { differs, recorded } = inNode(template, side.node)
    const [agent, kubelet] = [comparable(ours), comparable(theirs)]
    const recording = recorded === undefined ? kubelet : comparable(recorded)
    if (differs === undefined) return { found: { agent, kubelet }, expected: { agent: kubelet, kubelet: recording } }
    const found = {
      agent: summaryOf(ours).slice(0, differs.agent.length),
      kubelet: summaryOf(theirs).slice(0, differs.kubelet.length),
      isSame: isDeepStrictEqual(agent, kubelet),
    }
    return { found, expected: { agent: differs.agent, kubelet: differs.kubelet, isSame: false } }
  }

  async function askBoth(side: Side, template: ComparedRequest): Promise<{ ours: RawAnswer; theirs: RawAnswer }> {
    for (let patience = 3; ; patience -= 1) {
      const answers = await askBothOnce(side, template)
      if (patience === 0 || ![answers.ours, answers.theirs].some(isOfAnotherMoment)) return answers
      await sleep(1000)
    }
  }

  async function askBothOnce(side: Side, template: ComparedRequest): Promise<{ ours: RawAnswer; theirs: RawAnswer }> {
    const request = inNode(template, side.node)
    const bytes = toBytes(request)
    const theirs = await exchangeOnce(request.anonymous === true ? side.anonymousKubelet : side.kubelet, bytes)
    const ours = await exchangeOnce(side.agent, bytes)
    for (const { status, body } of [theirs, ours])
      if (status === 200) archives.add(join(side.checkpoints, archiveIn(body)))
    return { ours, theirs }
  }

  function sideOf(wanted: NodeName): Side {
    const found = sides.find(({ node }) => node === wanted)
    if (found === undefined) throw new Error(`Cannot ask node "${wanted}": it was not prepared`)
    return found
  }
})

async function startSide(node: NodeName): Promise<Side> {
  await Promise.all([ensureWebPod(node), runPodsInAllStates(node)])
  const agent = await startAgentInNode(node)
  const forwarder = await forwardToNode(node, `kubelet-${node}`, `TCP:${cluster.address(node)}:10250`)
  const folder = await cluster.folder()
  const read = (name: string) => readFileSync(join(folder, 'keys', name), 'utf8')
  const tls = { ca: read('ca.crt'), servername: `node-${node}` }
  return {
    node,
    agent,
    kubelet: { ...forwarder, tls: { ...tls, cert: read('admin.crt'), key: read('admin.key') } },
    anonymousKubelet: { ...forwarder, tls },
    checkpoints: join(folder, `node-${node}/lib/kubelet/checkpoints`),
    async stop() {
      await agent.stop()
      await forwarder.stop()
      await removePods(node)
    },
  }
}

/** `cluster.webPod` would also wait until Kubernetes says once more that its container crashes, which can take a minute. */
async function ensureWebPod(node: NodeName): Promise<void> {
  const isRunning = 'jsonpath={.status.containerStatuses[?(@.name=="counter")].state.running.startedAt}'
  const since = await kubectl(['get', 'pod', `web-node-${node}`, '--ignore-not-found', '-o', isRunning])
  if (since === '') await cluster.webPod(node)
}

function requestNamed(wanted: string): ComparedRequest {
  const found = REQUESTS.find(({ name }) => name === wanted)
  if (found === undefined) throw new Error(`Cannot find the request "${wanted}"`)
  return found
}

/** The request with the names that things have on this node. */
function inNode(request: ComparedRequest, node: NodeName): ComparedRequest {
  const other = node === 'a' ? 'b' : 'a'
  return JSON.parse(JSON.stringify(request).replaceAll('NODE', node).replaceAll('OTHER', other)) as ComparedRequest
}

/**
 * The container that crashes runs for a moment whenever it is started again: then the runtime is asked for it, and says
 * that it is not running any more, or gone, or even dumps it.
 */
function isOfAnotherMoment({ body }: RawAnswer): boolean {
  return /rpc error: code = NotFound|\/crash failed \(rpc error|_shop-crash-\d/.test(body)
}

/** What a client can tell apart, with the time in the name of an archive taken out. */
function comparable({ status, headers, body }: Pick<RawAnswer, 'status' | 'headers' | 'body'>): object {
  const compared = COMPARED_HEADERS.map((name) => [name, headers[name]])
  return { status, headers: Object.fromEntries(compared) as object, body: timeless(body) }
}

function timeless(text: string): string {
  return text.replace(ARCHIVE, 'checkpoint-$1_$2-$3-TIME.tar')
}

function summaryOf({ status, headers, body }: RawAnswer): string {
  const isProblem = headers['content-type']?.startsWith('application/problem+json') === true
  return `${status} ${isProblem ? (JSON.parse(body) as { code: string }).code : body}`
}

function archiveIn(body: string): string {
  const [path = ''] = (JSON.parse(body) as { items: readonly string[] }).items
  expect(path.startsWith(`${CHECKPOINTS}/checkpoint-`)).toBe(true)
  return path.slice(CHECKPOINTS.length + 1)
}

function fileOf(path: string): { name: string; mode: number; uid: number } {
  const { mode, uid } = statSync(path)
  return { name: timeless(basename(path)), mode: mode & 0o7777, uid }
}

function membersOf(archive: string): readonly string[] {
  const { status, stdout } = spawnSync('tar', ['-tf', archive], { encoding: 'utf8' })
  expect(status).toBe(0)
  return stdout.trim().split('\n').toSorted()
}
