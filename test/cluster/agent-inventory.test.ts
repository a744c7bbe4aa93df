import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NodeResponse } from '../../src/http/node-api-types.ts'
import { archiveProblem } from '../support/archive-check.ts'
import { connectCriAdmin, type CriAdmin } from '../support/cri-admin.ts'
import { CHECKPOINTS, forwardToNode, startAgentInNode, type AgentInNode } from './agent-in-node.ts'
import { observeDump, type DumpRecord } from './agent-inventory-dump.ts'
import { isTrusted, listCheckpoints, waitForRow } from './agent-inventory.ts'
import { findContainer, removePods, runCounter, runHog, type RunningContainer } from './agent-pods.ts'
import { watchAgent, type Watch } from './agent-watch.ts'
import { checkpointByKubelet, findArchiveFolder, runOnNode, type ArchiveFolder } from './archive-folder.ts'
import { cluster, type NodeName } from './cluster-harness.ts'

/** A second is promised; the rest is for a machine that has other things to do. */
const LISTED_WITHIN_MS = 2500
const REMOVED_WITHIN_MS = 2500
/** From the kubelet's answer; a file must have been left alone for a second before it counts as whole. */
const WHOLE_WITHIN_MS = 5000

const HOG_MIB = 1536
const MIB = 1024 * 1024

/** Other programs write to the same disk between two looks at it. */
const DISK_TOLERANCE_BYTES = 64 * MIB

/** Beside the folder and on its disk, but no business of the agent's. */
const ELSEWHERE = '/var/lib/kubelet/by-hand'

describe.each<NodeName>(['a', 'b'])('the inventory on node %s, beside the real kubelet', (node) => {
  const pod = `counter-${node}`
  const hog = `hog-${node}`
  const cleanups: (() => unknown)[] = []
  let folder: ArchiveFolder
  let agent: AgentInNode
  let watch: Watch
  let runtime: CriAdmin
  let counter: RunningContainer
  let archive: string

  beforeAll(async () => {
    await cluster.up()
    folder = await findArchiveFolder(node)
    cleanups.push(() => folder.clear())
    cleanups.push(() => removePods(node))
    await Promise.all([runCounter(node), runHog(node, HOG_MIB)])
    counter = await findContainer(pod)
    const toRuntime = await forwardToNode(node, `containerd-${node}`, 'UNIX-CONNECT:/run/containerd/containerd.sock')
    cleanups.push(() => toRuntime.stop())
    runtime = connectCriAdmin(toRuntime.socketPath)
    cleanups.push(() => runtime.close())
    agent = await startAgentInNode(node)
    cleanups.push(() => agent.stop())
    watch = await watchAgent(agent)
    cleanups.push(() => watch.stop())
  })

  afterAll(async () => {
    for (const cleanUp of cleanups.toReversed()) await cleanUp()
  })

  it('lists what the kubelet has checkpointed a moment later, whose it is included', async () => {
    const begun = Date.now()
    archive = await checkpointByKubelet(node, pod)
    const [answered, answeredAt] = [performance.now(), Date.now()]
    const row = await waitForRow(agent, archive, ({ identity }) => identity.source === 'archive')
    const millis = performance.now() - answered
    console.log(`node ${node}: listed with its identity ${millis.toFixed(0)} ms after the kubelet's answer`)

    expect(row).toMatchObject({
      node: `node-${node}`,
      identity: { ...counter, source: 'archive' },
      problems: [],
      kind: 'container',
      compression: 'none',
      engine: 'containerd',
      image: { name: 'localhost/busybox:1' },
      sizeBytes: folder.list().get(archive),
    })
    expect(row.processCount).toBeGreaterThan(0)
    expect(Date.parse(row.takenAt)).toBeGreaterThanOrEqual(begun)
    expect(Date.parse(row.takenAt)).toBeLessThanOrEqual(answeredAt)
    expect(isTrusted(agent, row.id)).toBe(true)
    expect(millis).toBeLessThan(LISTED_WITHIN_MS)
  })

  it('names the container as the runtime does', async () => {
    const { status } = await runtime.containerStatus(counter.containerId)
    expect(status.labels).toMatchObject({
      'io.kubernetes.pod.namespace': counter.namespace,
      'io.kubernetes.pod.name': counter.pod,
      'io.kubernetes.pod.uid': counter.podUid,
      'io.kubernetes.container.name': counter.container,
    })
  })

  it('makes its digest', async () => {
    const row = await waitForRow(agent, archive, ({ state }) => state === 'ready')
    expect(row.sha256).toBe(await folder.digestOf(archive))
  })

  const ours = `checkpoint-${pod}_shop-main-2026-01-02T03:04`
  it.each([
    { how: 'crictl', name: 'by-hand.tar', believed: false },
    { how: 'crictl', name: `${ours}:01Z.tar`, believed: true },
    { how: 'cp', name: `${ours}:02Z.tar`, believed: true },
    { how: 'cp', name: `checkpoint-other-${node}_shop-main-2026-01-02T03:04:03Z.tar`, believed: false },
    { how: 'cp', name: `checkpoint-${pod}_bank-main-2026-01-02T03:04:04Z.tar`, believed: false },
    { how: 'ln', name: `${ours}:05Z.tar`, believed: false },
  ] as const)('lists what $how makes as $name, believed: $believed', async ({ how, name, believed }) => {
    const target = `${CHECKPOINTS}/${name}`
    if (how === 'crictl') await runtime.checkpointContainer(counter.containerId, target)
    else {
      cleanups.push(() => runOnNode(node, ['rm', '-rf', ELSEWHERE]))
      await runOnNode(node, ['mkdir', '-p', ELSEWHERE])
      await runOnNode(node, ['cp', `${CHECKPOINTS}/${archive}`, `${ELSEWHERE}/${name}`])
      await runOnNode(node, [how, `${ELSEWHERE}/${name}`, target])
    }
    const done = performance.now()
    const { id } = await waitForRow(agent, name, ({ identity }) => identity.source === 'archive')
    expect(performance.now() - done).toBeLessThan(LISTED_WITHIN_MS)
    const row = await waitForRow(agent, name, ({ state }) => state === 'ready')
    expect(row).toMatchObject({ id, identity: counter, engine: 'containerd', sha256: await folder.digestOf(name) })
    expect(isTrusted(agent, id)).toBe(believed)
  })

  it('never shows 1.5 GiB as whole while the kubelet has them written', { timeout: 300_000 }, async () => {
    const container = await findContainer(hog)
    const observation = observeDump(`checkpoint-${hog}_shop-main-`, { agent, watch, folder })
    const name = await checkpointByKubelet(node, hog)
    const answered = performance.now()
    const row = await waitForRow(agent, name, ({ state }) => state === 'ready', 120_000)
    const record = await observation.stop()
    console.log(`node ${node}: ${describeRecord(record, answered)}`)

    const sizeBytes = folder.list().get(name) ?? 0
    expect(sizeBytes).toBeGreaterThan(HOG_MIB * MIB)
    expect(archiveProblem(join(folder.path, name))).toBeUndefined()
    expectWatchedGrowth(record)
    const whole = record.sightings.filter(({ state }) => state === 'hashing' || state === 'ready')
    expect(whole.filter(({ at }) => at <= record.lastOpenAt)).toEqual([])
    expect(whole.filter((sighting) => sighting.sizeBytes !== sizeBytes)).toEqual([])
    expect((whole[0]?.at ?? Number.POSITIVE_INFINITY) - answered).toBeLessThan(WHOLE_WITHIN_MS)
    expect(statesBy('watch', record).slice(-2)).toEqual(['hashing', 'ready'])
    expect(row).toMatchObject({ identity: { ...container, source: 'archive' }, sizeBytes, problems: [] })
    expect(row.sha256).toBe(await folder.digestOf(name))
    expect(isTrusted(agent, row.id)).toBe(true)
  })

  it('counts what ls and df show', async () => {
    await runOnNode(node, ['sh', '-c', `head -c 100000 '${CHECKPOINTS}/${archive}' >${CHECKPOINTS}/cut.tar`])
    await runOnNode(node, ['sh', '-c', `head -c 100000 /dev/urandom >${CHECKPOINTS}/noise.tar`])
    await waitForRow(agent, 'cut.tar', ({ state }) => state === 'incomplete')
    await waitForRow(agent, 'noise.tar', ({ state }) => state === 'damaged')

    const sizes = [...(await listByLs()).values()]
    const { checkpoints, disk } = (await agent.request('GET', '/v1/node')).json<NodeResponse>()
    expect(checkpoints).toEqual({
      count: sizes.length,
      byState: { ready: sizes.length - 2, incomplete: 1, damaged: 1 },
    })
    expect(disk.archiveBytes).toBe(sizes.reduce((sum, size) => sum + size, 0))
    expect(disk.totalBytes).toBe((await askDf()).totalBytes)
    await expect.poll(differenceToDf, { timeout: 30_000 }).toBeLessThan(DISK_TOLERANCE_BYTES)
  })

  it('forgets what an admin removes, and says so', async () => {
    const rows = await listCheckpoints(agent)
    expect(rows.map(({ fileName }) => fileName).toSorted()).toEqual([...folder.list().keys()].toSorted())
    const delays: number[] = []
    for (const { id, fileName } of rows) {
      await runOnNode(node, ['rm', `${CHECKPOINTS}/${fileName}`])
      const removed = performance.now()
      await waitForRemoval(id)
      delays.push(performance.now() - removed)
      const answer = await agent.request('GET', `/v1/checkpoints/${id}`)
      expect(answer.status).toBe(404)
      expect(answer.json()).toMatchObject({ code: 'CheckpointNotFound' })
    }
    console.log(`node ${node}: each of ${rows.length} removals told within ${Math.max(...delays).toFixed(0)} ms`)
    expect(await listCheckpoints(agent)).toEqual([])
    expect((await agent.request('GET', '/v1/node')).json()).toMatchObject({ checkpoints: { count: 0, byState: {} } })
  })

  it('lost no event, and logged no error', () => {
    expect(watch.problem()).toBeUndefined()
    expect(watch.events().filter(({ type }) => type === 'resync')).toEqual([])
    // What others remove is told, and that is what these tests do.
    const told = agent.log().filter(({ level, msg }) => level === 'error' && !msg.startsWith('An archive is gone'))
    expect(told).toEqual([])
  })

  async function waitForRemoval(id: string): Promise<void> {
    const told = () => watch.events().filter(({ type, data }) => type === 'removed' && data.id === id)
    await expect
      .poll(told, { interval: 5, timeout: REMOVED_WITHIN_MS })
      .toMatchObject([{ data: { id, state: 'gone' } }])
  }

  async function listByLs(): Promise<ReadonlyMap<string, number>> {
    const { stdout } = await runOnNode(node, ['sh', '-c', `cd ${CHECKPOINTS} && stat -c '%s %n' -- *.tar`])
    const lines = stdout.trim().split('\n')
    return new Map(lines.map((line) => [line.slice(line.indexOf(' ') + 1), Number.parseInt(line, 10)]))
  }

  async function askDf(): Promise<{ readonly totalBytes: number; readonly freeBytes: number }> {
    const { stdout } = await runOnNode(node, ['df', '-B1', '--output=size,avail', CHECKPOINTS])
    const [totalBytes = 0, freeBytes = 0] = (stdout.split('\n')[1] ?? '').trim().split(/ +/).map(Number)
    return { totalBytes, freeBytes }
  }

  async function differenceToDf(): Promise<number> {
    const [{ disk }, { freeBytes }] = await Promise.all([
      agent.request('GET', '/v1/node').then((answer) => answer.json<NodeResponse>()),
      askDf(),
    ])
    return Math.abs(disk.freeBytes - freeBytes)
  }
})

/** Else it was not looked at while it was being written, and nothing that was not seen proves anything. */
function expectWatchedGrowth({ looksWhileOpen, sizesWhileOpen: [smallest, largest] }: DumpRecord): void {
  expect(looksWhileOpen).toBeGreaterThan(3)
  expect(largest).toBeGreaterThan(smallest)
}

function statesBy(by: 'list' | 'watch', { sightings }: DumpRecord): readonly string[] {
  return sightings.filter((sighting) => sighting.by === by).map(({ state }) => state)
}

function describeRecord(record: DumpRecord, answered: number): string {
  const { sightings, firstOpenAt, lastOpenAt, looksWhileOpen } = record
  const whileOpen = sightings.filter(({ at }) => at <= lastOpenAt)
  const said = Map.groupBy(whileOpen, ({ by, state }) => `"${state}" by ${by}`)
  const times = [...said].map(([text, all]) => `${text} ${all.length} times`).join(', ')
  const after = (state: string) => {
    const found = sightings.find((sighting) => sighting.state === state)
    return found === undefined ? `never ${state}` : `${state} after ${(found.at - answered).toFixed(0)} ms`
  }
  return [
    `written in ${(lastOpenAt - firstOpenAt).toFixed(0)} ms, found open in ${looksWhileOpen} looks, and said to be ${times};`,
    `from the kubelet's answer ${after('hashing')}, ${after('ready')}`,
  ].join(' ')
}
