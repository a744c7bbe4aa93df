import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AgentProcess } from '../support/agent-process.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'

// All tests with a node have their agent like this; here is shown that it is so.

let node: AgentNode
let agent: AgentProcess

beforeAll(async () => {
  node = await startAgentNode({ containerd: '2.1', name: 'confined' })
  agent = await node.startAgent()
})

afterAll(() => node.stop())

describe('the agent of these tests', () => {
  it('is root without a capability, and cannot gain one', () => {
    const status = readFileSync(`/proc/${agent.pid}/status`, 'utf8')
    expect(status).toMatch(/^Uid:\s+0\s+0\s/m)
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) expect(status).toMatch(new RegExp(`^Cap${set}:\\s+0+$`, 'm'))
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
  })

  it('can only read its root', () => {
    const mounts = readFileSync(`/proc/${agent.pid}/mountinfo`, 'utf8').split('\n')
    const root = mounts.find((mount) => mount.split(' ')[4] === '/')
    expect(root?.split(' ')[5]?.split(',')).toContain('ro')
  })

  it('is ready all the same', async () => {
    expect((await agent.request('GET', '/readyz')).status).toBe(200)
    expect((await agent.request('GET', '/v1/node')).json()).toMatchObject({ canCheckpoint: { state: 'yes' } })
  })
})
