import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { archiveProblem } from '../../support/archive-check.ts'
import { criuFails, establishedTcp, hangs, slow } from '../../support/simulated-runtime-faults.ts'
import { kubeletCheckpoint, startTestAgent, type TestAgent } from '../../support/test-agent.ts'

const DEADLINE = 'rpc error: code = DeadlineExceeded desc = context deadline exceeded'

interface Changes {
  readonly pod?: string
  readonly container?: string
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal
}

function checkpoint(test: TestAgent, changes: Changes = {}) {
  return kubeletCheckpoint(test.agent, {
    namespace: 'shop',
    pod: 'web-node-a',
    container: 'counter',
    timeoutMs: 60_000,
    requestedBy: 'test',
    signal: new AbortController().signal,
    ...changes,
  })
}

async function lookUp(test: TestAgent, ...names: readonly [string, string, string]) {
  const found = await test.agent.kubelet.lookUp(...names)
  return typeof found !== 'string' && 'checkpoint' in found ? 'found' : found
}

describe.concurrent("what the kubelet's endpoint looks up", () => {
  it.each([
    { path: ['shop', 'web-node-a', 'counter'], found: 'found' },
    { path: ['shop', 'web-node-a', 'crash'], found: 'found' },
    { path: ['shop', 'web-node-a', 'init'], found: 'found' },
    { path: ['shop', 'web-node-a', 'none'], found: 'container' },
    { path: ['shop', 'other', 'counter'], found: 'pod' },
    { path: ['bank', 'web-node-a', 'counter'], found: 'pod' },
  ] as const)('$path: $found', async ({ path: [namespace, pod, container], found }) => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    expect(await lookUp(test, namespace, pod, container)).toBe(found)
  })

  it('is no pod any more once its containers are gone, though the runtime keeps its sandbox', async () => {
    await using test = await startTestAgent()
    test.runtime.addPod({ namespace: 'shop', name: 'gone', isReady: false, containers: [] })
    test.runtime.addPod({ namespace: 'shop', name: 'young', isReady: true, containers: [] })
    const ended = { name: 'main', state: 'exited' } as const
    test.runtime.addPod({ namespace: 'shop', name: 'finished', isReady: false, containers: [ended] })
    const found = ['gone', 'young', 'finished'].map((pod) => lookUp(test, 'shop', pod, 'main'))
    expect(await Promise.all(found)).toEqual(['pod', 'container', 'found'])
  })

  it("is told in Go's words when the runtime fails", async () => {
    await using test = await startTestAgent()
    test.runtime.failure = { code: 14, details: 'busy' }
    expect(await test.agent.kubelet.lookUp('shop', 'web-node-a', 'counter')).toEqual({
      error: 'rpc error: code = Unavailable desc = busy',
    })
  })
})

describe.concurrent("what the kubelet's endpoint answers", () => {
  it('the path of the archive', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const answer = await checkpoint(test)
    const [name = ''] = test.archives()
    expect(answer).toEqual({ path: join(test.folder.checkpoints, name) })
    expect(archiveProblem(join(test.folder.checkpoints, name))).toBeUndefined()
  })

  it.each([
    { name: 'a container that does not run', changes: { container: 'crash' }, error: 'container crash not found' },
    { name: 'a container that is done', changes: { container: 'init' }, error: 'container init not found' },
    {
      name: 'a negative timeout',
      changes: { timeoutMs: undefined },
      error: 'CheckpointContainer requires the timeout value to be > 0',
    },
    {
      name: 'a negative timeout for a container that does not run',
      changes: { container: 'crash', timeoutMs: undefined },
      error: 'container crash not found',
    },
    { name: 'a timeout that is over before it begins', changes: { timeoutMs: 0 }, error: DEADLINE },
  ])('to $name: $error', async ({ changes, error }) => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    expect(await checkpoint(test, changes)).toEqual({ error })
    expect(test.runtime.calls.checkpoints().filter(({ location }) => location !== '')).toEqual([])
  })

  it.each([
    {
      is: 'containerd 2.1.9',
      script: criuFails,
      error:
        /^rpc error: code = Unknown desc = checkpointing container "[0-9a-f]{64}" failed: criu failed: type NOTIFY errno 0 path= \S+\/criu-dump\.log$/,
    },
    {
      is: 'cri-o 1.36.3',
      script: establishedTcp,
      error:
        /^rpc error: code = Unknown desc = failed to checkpoint container [0-9a-f]{64}: running "\/usr\/bin\/runc" [^]*--tcp-established/,
    },
  ])("to a failure of $is: the runtime's words as Go says them", async ({ is, script, error }) => {
    await using test = await startTestAgent({}, { is })
    test.runtime.webPod()
    test.runtime.faults.next(script)
    expect(await checkpoint(test)).toEqual({ error: expect.stringMatching(error) })
  })

  it.each([
    {
      is: 'containerd 1.6.20',
      prepare: () => undefined,
      error: 'rpc error: code = Unimplemented desc = method CheckpointContainer not implemented',
    },
    {
      is: 'containerd 2.1.9',
      prepare: (test: TestAgent) => (test.runtime.criu = 'missing'),
      error:
        /^rpc error: code = Unknown desc = CRIU binary not found or too old \(<31600\)\. Failed to checkpoint container "/,
    },
    {
      is: 'cri-o 1.36.3',
      prepare: (test: TestAgent) => (test.runtime.criu = 'missing'),
      error: 'rpc error: code = Unknown desc = checkpoint/restore support not available',
    },
  ])('on $is, which cannot checkpoint: $error', async ({ is, prepare, error }) => {
    await using test = await startTestAgent({}, { is })
    test.runtime.webPod()
    prepare(test)
    const answer = await checkpoint(test)
    expect('error' in answer ? answer.error : '').toMatch(error)
  })

  it('when the time is over: the deadline, and the capture goes on', async () => {
    await using test = await startTestAgent()
    const counter = test.runtime.webPod().container('counter')
    test.runtime.faults.next(slow(1_500))
    expect(await checkpoint(test, { timeoutMs: 300 })).toEqual({ error: DEADLINE })
    const job = test.agent.captures.findInFlight(counter.id) ?? ''
    expect((await test.agent.captures.wait(job, {})).captures).toMatchObject([{ state: 'succeeded' }])
    expect(test.runtime.calls.checkpoints(counter.id)).toMatchObject([{ hasDeadline: false, outcome: 'ok' }])
    expect(test.archives()).toHaveLength(1)
  })

  it('that a container was not found which has ended while it waited', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const pod = test.runtime.addPod({ namespace: 'shop', name: 'short', containers: [{ name: 'main' }] })
    test.runtime.faults.next(slow(1_200))
    const first = checkpoint(test)
    await vi.waitUntil(() => test.runtime.dumpsRunning === 1, { interval: 5, timeout: 10_000 })
    const second = checkpoint(test, { pod: 'short', container: 'main' })
    await vi.waitUntil(() => test.agent.captures.counts.queued === 1, { interval: 5, timeout: 10_000 })
    pod.container('main').exit()
    expect(await second).toEqual({ error: 'container main not found' })
    expect(await first).toHaveProperty('path')
  })

  it('nothing to a caller who has hung up, and the capture goes on', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.next(slow(1_000))
    await checkpoint(test, { signal: AbortSignal.timeout(300) })
    await vi.waitFor(() => expect(test.archives()).toHaveLength(1), { interval: 20, timeout: 10_000 })
  })

  it('that too many wait, in our own words', async () => {
    await using test = await startTestAgent({ capture: { queueLimit: 1 } })
    test.runtime.webPod()
    test.runtime.faults.always(slow(1_000))
    const answers = await Promise.all([checkpoint(test), checkpoint(test), checkpoint(test)])
    const errors = answers.flatMap((answer) => ('error' in answer ? [answer.error] : []))
    expect(errors).toEqual(['Cannot queue the checkpoint: 1 are waiting on this node'])
  })

  it('a cancel by somebody else', async () => {
    await using test = await startTestAgent({}, { taskStateTimeoutMs: 30 })
    const counter = test.runtime.webPod().container('counter')
    test.runtime.faults.next({ ...hangs, windDownMs: 100 })
    const answer = checkpoint(test)
    await vi.waitUntil(() => test.runtime.dumpsRunning === 1, { interval: 5, timeout: 10_000 })
    await test.agent.captures.cancel(test.agent.captures.findInFlight(counter.id) ?? '')
    expect(await answer).toEqual({ error: 'the capture was cancelled before its archive was whole' })
  })
})
