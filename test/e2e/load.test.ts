import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CaptureJobResponse } from '../../src/api/capture-schemas.ts'
import type { AgentProcess } from '../support/agent-process.ts'
import { hogPod, runPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import { beginCapture, findJobs, getNode, waitForEnd } from './support/captures-client.ts'
import { archivesIn, expectAlive, problemsIn, stagingIn } from './support/container-checks.ts'

const PODS = Array.from({ length: 20 }, (_, index) => `small-${index}`)
const CALLS_EACH = 10
const QUEUE_LIMIT = 64
const ROUNDS = 2

/** With room to spare Node puts off tidying up, and what is kept for good cannot be told from what is not yet freed. */
const SMALL_HEAP = ['--max-old-space-size=64', '--max-semi-space-size=4']

/** Some MiB come and go with the buffers of 200 connections; answers or jobs that are kept would soon be more. */
const GROWTH_MIB = 24

describe.each(['2.1', '2.4'] as const)('200 calls at once for 20 containers, containerd %s', (containerd) => {
  let on: AgentNode
  let agent: AgentProcess
  let ids: ReadonlyMap<string, string>

  beforeAll(async () => {
    on = await startAgentNode({ containerd, name: `load-${containerd.replace('.', '-')}` })
    const { admin, placement } = on.node
    // A dump interrupts system calls, so it waits in a loop; and in no program of its own, which would have to be started
    // anew after each dump: a shell that does that just then cannot be stopped by the next one.
    const containers = [
      { name: 'c', command: ['sh', '-c', 'mkfifo /tmp/f; exec 3<>/tmp/f; while :; do read _ <&3; done'] },
    ]
    const filling = hogPod(admin, placement, { sizeMiB: 1024 })
    const pods = await Promise.all(
      PODS.map((name) => runPod(admin, { namespace: 'shop', name, ...placement, containers })),
    )
    await filling
    ids = new Map(pods.map((pod) => [pod.name, pod.containers['c'] ?? '']))
    agent = await on.startAgent({}, SMALL_HEAP)
  })
  afterAll(() => on.stop())

  it('/v1/captures: one job for each container, and everybody else is told which', async () => {
    await oneRound()
    expect(overlapsOf(await findJobs(agent))).toEqual([])
  })

  it("the kubelet's route: an archive for each caller, until the queue is full", async () => {
    const jobsBefore = (await findJobs(agent)).length
    await occupy()
    const answers = await Promise.all(
      calls().map((pod) => agent.request('POST', `/checkpoint/shop/${pod}/c?timeout=600`)),
    )
    const taken = answers.filter(({ status }) => status === 200)
    const refused = answers.filter(({ status }) => status === 500)
    // On a slow machine the queue may have moved on before the last of them came.
    expect(taken.length).toBeGreaterThanOrEqual(QUEUE_LIMIT)
    expect(taken.length).toBeLessThan(QUEUE_LIMIT + PODS.length)
    expect(taken.length + refused.length).toBe(answers.length)
    for (const { text } of refused) {
      expect(text).toMatch(/^checkpointing of shop\/small-\d+\/c failed \(.*64 are waiting on this node\)$/)
    }
    const paths = taken.flatMap(({ text }) => (JSON.parse(text) as { items: string[] }).items)
    expect(new Set(paths).size).toBe(taken.length)
    const archives = archivesIn(on.node.checkpointsDir)
    expect(paths.filter((path) => !archives.includes(path))).toEqual([])
    const jobs = await findJobs(agent)
    expect(jobs).toHaveLength(jobsBefore + 1 + taken.length)
    expect(overlapsOf(jobs)).toEqual([])
  })

  it('leaves every container at work, every archive whole, and the memory as it was', async () => {
    const before = rssMib(agent.pid)
    for (let round = 0; round < ROUNDS; round += 1) await oneRound()
    const after = rssMib(agent.pid)
    console.log(`resident memory of the agent: ${before} MiB, after ${ROUNDS} rounds more ${after} MiB`)
    expect(after - before).toBeLessThan(GROWTH_MIB)

    expect((await getNode(agent)).captures).toMatchObject({ running: 0, queued: 0 })
    expect(stagingIn(on.node.checkpointsDir)).toEqual([])
    expect(problemsIn(on.node.checkpointsDir)).toEqual([])
    await Promise.all([...ids.values()].map((id) => expectAlive(on.node, id)))
  })

  async function oneRound(): Promise<void> {
    const blocker = await occupy()
    const answers = await Promise.all(
      calls().map(async (pod) => {
        const body = { namespace: 'shop', pod, container: 'c' }
        return { pod, answer: await agent.request('POST', '/v1/captures', { body }) }
      }),
    )
    const jobOf = new Map<string, string>()
    for (const { pod, answer } of answers) {
      if (answer.status !== 202) continue
      expect(jobOf.has(pod)).toBe(false)
      jobOf.set(pod, answer.json<CaptureJobResponse>().id)
    }
    expect([...jobOf.keys()].toSorted()).toEqual(PODS.toSorted())
    for (const { pod, answer } of answers) {
      if (answer.status === 202) continue
      expect(answer.json()).toMatchObject({ status: 409, code: 'CaptureInFlight', job: jobOf.get(pod) })
    }
    expect((await waitForEnd(agent, blocker)).state).toBe('succeeded')
    const ended = await Promise.all([...jobOf.values()].map((id) => waitForEnd(agent, id)))
    expect(new Set(ended.map(({ state }) => state))).toEqual(new Set(['succeeded']))
  }

  /** A capture that takes seconds, so that all 200 meet the same queue. Returns its job. */
  async function occupy(): Promise<string> {
    const { id } = await beginCapture(agent, { namespace: 'shop', pod: 'hog', container: 'hog' })
    return id
  }
})

/** Each container ten times, in turn. */
function calls(): string[] {
  return Array.from({ length: CALLS_EACH }, () => PODS).flat()
}

/** Pairs of captures that ran at the same time. With a concurrency of 1 there are none, of whichever container. */
function overlapsOf(jobs: readonly CaptureJobResponse[]): string[] {
  const byStart = jobs.toSorted((a, b) => startOf(a) - startOf(b))
  return byStart.flatMap((job, index) => {
    const earlier = byStart[index - 1]
    const overlaps = earlier !== undefined && startOf(job) < Date.parse(earlier.finishedAt ?? '')
    return overlaps ? [`${earlier.id} and ${job.id}`] : []
  })
}

function startOf({ startedAt = '' }: CaptureJobResponse): number {
  return Date.parse(startedAt)
}

function rssMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kib) / 1024)
}
