import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { ForeignFreezes, type ForeignFreezesOptions } from '../../../src/agent/containers/foreign-freezes.ts'
import type { NodeContainer } from '../../../src/agent/containers/node-containers.ts'
import type { FreezeState } from '../../../src/runtime/freeze-control.ts'
import { slow } from '../../support/simulated-runtime-faults.ts'
import { recordingLogger, startTestAgent } from '../../support/test-agent.ts'

const REPORTED = 'A container is frozen, and not by this agent'
const RESUMED = 'Resumed a container that somebody else had left frozen'
const CANNOT_RESUME = 'Cannot resume a container that somebody else left frozen'

function container(containerId: string): NodeContainer {
  const identity = { namespace: 'shop', pod: 'web-0', podUid: 'u', container: containerId, containerId }
  return { identity, image: 'i', isRunning: true, isAlive: true, createdAt: new Date(0) }
}

/** A node whose containers are in the states of this table. */
function node(states: Record<string, FreezeState | Error>, changes: Partial<ForeignFreezesOptions> = {}) {
  const logger = recordingLogger()
  const resumes: string[] = []
  let resumed = 0
  const foreign = new ForeignFreezes({
    listAlive: async () => Object.keys(states).map(container),
    control: {
      look: async (id) => {
        const state = states[id] ?? 'gone'
        if (state instanceof Error) throw state
        return state
      },
      resume: async (id) => {
        resumes.push(id)
        states[id] = 'running'
      },
    },
    isOurs: () => false,
    policy: 'report',
    intervalMs: 60_000,
    afterMs: 0,
    longestDumpMs: () => 0,
    onResumed: () => (resumed += 1),
    logger,
    ...changes,
  })
  return {
    foreign,
    states,
    resumes,
    resumed: () => resumed,
    messages: () => logger.lines.filter(({ level }) => level !== 'debug').map(({ message }) => message),
    frozen: () => foreign.frozen.map(({ container: { identity } }) => identity.containerId),
    logger,
  }
}

describe('ForeignFreezes', () => {
  it('says nothing of containers that run', async () => {
    const test = node({ a: 'running', b: 'running' })
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual([])
    expect(test.messages()).toEqual([])
  })

  it('reports a frozen container once, with what to do, and goes on showing it', async () => {
    const test = node({ a: 'running', b: 'frozen' })
    for (let look = 0; look < 3; look += 1) await test.foreign.lookOnce()
    expect(test.frozen()).toEqual(['b'])
    expect(test.messages()).toEqual([REPORTED])
    expect(test.logger.lines[0]?.fields).toMatchObject({
      namespace: 'shop',
      pod: 'web-0',
      containerId: 'b',
      hint: expect.stringContaining('freezeGuard.foreign: resume'),
    })
    expect(test.resumes).toEqual([])
  })

  it('waits as long as a pause may be a dump of somebody else', async () => {
    const test = node({ a: 'frozen' }, { afterMs: 80 })
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual([])
    await sleep(100)
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual(['a'])
    const [frozen] = test.foreign.frozen
    expect(Date.now() - (frozen?.seenSince.getTime() ?? 0)).toBeGreaterThanOrEqual(80)
  })

  it('waits twice as long as the longest dump of this node, where that is longer', async () => {
    const test = node({ a: 'frozen' }, { afterMs: 0, longestDumpMs: () => 100 })
    await test.foreign.lookOnce()
    await sleep(120)
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual([])
    await sleep(100)
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual(['a'])
  })

  it.each([
    { name: 'runs again', change: (states: Record<string, FreezeState | Error>) => (states['a'] = 'running') },
    { name: 'has ended', change: (states: Record<string, FreezeState | Error>) => (states['a'] = 'gone') },
    { name: 'is not listed any more', change: (states: Record<string, FreezeState | Error>) => delete states['a'] },
  ])('forgets one that $name, and counts its next pause anew', async ({ change }) => {
    const test = node({ a: 'frozen' }, { afterMs: 60 })
    await test.foreign.lookOnce()
    await sleep(80)
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual(['a'])
    change(test.states)
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual([])
    test.states['a'] = 'frozen'
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual([])
  })

  it('does not take silence for a sign that one runs again', async () => {
    const test = node({ a: 'frozen' })
    await test.foreign.lookOnce()
    for (const state of ['unknown', new Error('the shim is busy')] as const) {
      test.states['a'] = state
      await test.foreign.lookOnce()
      expect(test.frozen()).toEqual(['a'])
    }
    test.states['a'] = 'frozen'
    await test.foreign.lookOnce()
    expect(test.messages()).toEqual([REPORTED])
  })

  it('leaves our own captures alone', async () => {
    let isOurs = true
    const test = node({ a: 'frozen' }, { isOurs: () => isOurs, policy: 'resume' })
    await test.foreign.lookOnce()
    expect(test.frozen()).toEqual([])
    expect(test.resumes).toEqual([])
    isOurs = false
    await test.foreign.lookOnce()
    expect(test.resumes).toEqual(['a'])
  })

  it('resumes when it is told to, counts it, and shows nothing of it', async () => {
    const test = node({ a: 'frozen', b: 'frozen' }, { policy: 'resume' })
    await test.foreign.lookOnce()
    expect(test.resumes).toEqual(['a', 'b'])
    expect(test.resumed()).toBe(2)
    expect(test.frozen()).toEqual([])
    expect(test.messages()).toEqual([RESUMED, RESUMED])
  })

  it('records each resume before and after it, and one that fails again and again once', async () => {
    const entries: string[] = []
    let refusals = 3
    const states: Record<string, FreezeState> = { a: 'frozen' }
    const test = node(states, {
      policy: 'resume',
      record: ({ containerId, origin, outcome, error }) => {
        entries.push([containerId, origin, outcome, error].filter((part) => part !== undefined).join(' '))
      },
      control: {
        look: async () => states['a'] ?? 'gone',
        resume: async () => {
          if (refusals-- > 0) throw new Error('busy')
          states['a'] = 'running'
        },
      },
    })
    for (let look = 0; look < 5; look += 1) await test.foreign.lookOnce()
    expect(entries).toEqual(['a foreign intended', 'a foreign failed busy', 'a foreign done'])
    states['a'] = 'frozen'
    await test.foreign.lookOnce()
    expect(entries.slice(3)).toEqual(['a foreign intended', 'a foreign done'])
  })

  it('does not say that it can look before it has, nor of containers that are all its own', async () => {
    let areOurs = true
    const test = node({ a: 'unknown' }, { isOurs: () => areOurs })
    expect(test.foreign.canLook).toBe(false)
    await test.foreign.lookOnce()
    expect(test.foreign.canLook).toBe(false)
    areOurs = false
    test.states['a'] = 'running'
    await test.foreign.lookOnce()
    expect(test.foreign.canLook).toBe(true)
    areOurs = true
    await test.foreign.lookOnce()
    expect(test.foreign.canLook).toBe(true)
  })

  it('reports one that it cannot resume, and tries again at the next look', async () => {
    let refusals = 2
    const test = node({ a: 'frozen' }, {})
    const stubborn = node(
      { a: 'frozen' },
      {
        policy: 'resume',
        control: {
          look: async () => test.states['a'] as FreezeState,
          resume: async () => {
            if (refusals-- > 0) throw new Error('the shim does not answer')
            test.states['a'] = 'running'
          },
        },
      },
    )
    await stubborn.foreign.lookOnce()
    expect(stubborn.frozen()).toEqual(['a'])
    await stubborn.foreign.lookOnce()
    await stubborn.foreign.lookOnce()
    expect(stubborn.frozen()).toEqual([])
    expect(stubborn.resumed()).toBe(1)
    expect(stubborn.messages()).toEqual([CANNOT_RESUME, REPORTED, CANNOT_RESUME, RESUMED])
  })

  it.each<{ states: Record<string, FreezeState | Error>; canLook: boolean }>([
    { states: {}, canLook: true },
    { states: { a: 'running' }, canLook: true },
    { states: { a: 'frozen' }, canLook: true },
    { states: { a: 'unknown' }, canLook: false },
    { states: { a: 'unknown', b: new Error('no') }, canLook: false },
    { states: { a: 'unknown', b: 'running' }, canLook: true },
  ])('knows whether it can see a freeze at all: $states', async ({ states, canLook }) => {
    const test = node(states)
    await test.foreign.lookOnce()
    expect(test.foreign.canLook).toBe(canLook)
  })

  it('looks again and again, whatever happens, until it is stopped', async () => {
    let looks = 0
    const test = node(
      {},
      {
        intervalMs: 5,
        listAlive: async () => {
          looks += 1
          throw new Error('the runtime is away')
        },
      },
    )
    test.foreign.start()
    await expect.poll(() => looks, { interval: 5 }).toBeGreaterThan(2)
    await test.foreign.stop()
    const stoppedAt = looks
    await sleep(30)
    expect(looks).toBe(stoppedAt)
  })
})

describe('an agent on a node where somebody else freezes containers', () => {
  const cgroups = mkdtempSync(join(tmpdir(), 'cgroups-'))
  afterAll(() => rmSync(cgroups, { recursive: true }))
  const guard = { foreignAfterMs: 50, intervalMs: 20 }

  it.each(['containerd 2.1.9', 'cri-o 1.36.3'])('shows it, on %s, in its status, metrics and health', async (is) => {
    const root = join(cgroups, is)
    await using test = await startTestAgent(
      { freezeGuard: { ...guard, cgroupRoot: root } },
      { is, freezer: { root, version: 'v2' } },
    )
    const counter = test.runtime.webPod().container('counter')
    const frozenNow = async () => (await test.agent.status(undefined)).freezeGuard.frozenNow
    const gauge = async () =>
      /^checkpoint_agent_containers_frozen (\d+)$/m.exec((await test.agent.metrics.render()).text)?.[1]
    const health = () => test.agent.health().find(({ name }) => name === 'frozen-containers')
    expect(await gauge()).toBe('0')
    counter.pause()
    await expect.poll(frozenNow, { interval: 20, timeout: 10_000 }).toBe(1)
    expect(await gauge()).toBe('1')
    expect(health()).toMatchObject({ name: 'frozen-containers', state: 'degraded', reason: '1 frozen' })
    expect(counter.isFrozen).toBe(true)
    counter.resume()
    await expect.poll(frozenNow, { interval: 20, timeout: 10_000 }).toBe(0)
    expect(await gauge()).toBe('0')
    expect(health()).toEqual({ name: 'frozen-containers', state: 'ok' })
  })

  it('resumes it when it is told to, and counts it', async () => {
    await using test = await startTestAgent({ freezeGuard: { ...guard, foreign: 'resume' } })
    const counter = test.runtime.webPod().container('counter')
    counter.pause()
    const guardStatus = async () => (await test.agent.status(undefined)).freezeGuard
    await expect
      .poll(guardStatus, { interval: 20, timeout: 10_000 })
      .toEqual({ policy: 'resume', frozenNow: 0, resumedTotal: 0, foreignResumedTotal: 1, canLook: true })
    expect(counter.canExec).toBe(true)
    const { text } = await test.agent.metrics.render()
    expect(text).toContain('checkpoint_agent_containers_resumed_total{origin="foreign"} 1')
  })

  it('does not resume what its own capture has paused', async () => {
    await using test = await startTestAgent({ freezeGuard: { foreign: 'resume', foreignAfterMs: 0, intervalMs: 5 } })
    test.runtime.webPod()
    test.runtime.faults.next(slow(400))
    const { id } = await test.agent.captures.request({
      namespace: 'shop',
      pod: 'web-node-a',
      container: 'counter',
      requestedBy: 'test',
    })
    const job = await test.agent.captures.wait(id, {})
    expect(job.captures).toMatchObject([{ state: 'succeeded' }])
    expect(test.runtime.calls.calls.filter(({ method }) => method === 'Resume')).toEqual([])
  })

  it('says that it cannot see freezes on cri-o without a cgroup tree', async () => {
    await using test = await startTestAgent({ freezeGuard: guard }, { is: 'cri-o 1.36.3' })
    test.runtime.webPod()
    const canLook = async () => (await test.agent.status(undefined)).freezeGuard.canLook
    await expect.poll(canLook, { interval: 20, timeout: 10_000 }).toBe(false)
    expect(test.agent.health().find(({ name }) => name === 'freeze-guard')).toMatchObject({ state: 'degraded' })
  })
})
