import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { CaptureResult } from '../../src/api/capture-schemas.ts'
import type { CheckpointResponse } from '../../src/api/checkpoint-schemas.ts'
import type { AgentProcess } from '../support/agent-process.ts'
import { runWebPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import { findJobs } from './support/captures-client.ts'

const REASON = 'case 7: <shop> talks to an address it should not know'

describe('what only we know of a capture, without the index, containerd 2.1', () => {
  let on: AgentNode
  let agent: AgentProcess
  let taken: CheckpointResponse

  beforeAll(async () => {
    on = await startAgentNode({ containerd: '2.1', name: 'observed' })
    agent = await on.startAgent()
    await runWebPod(on.node.admin, on.node.placement)
    const body = { namespace: 'shop', pod: 'web-node-a', container: 'counter', reason: REASON }
    const answer = await agent.request('POST', '/v1/captures?wait=true', { body })
    taken = await readWhenReady(answer.json<CaptureResult>().items[0]?.id ?? '')
  })

  afterAll(() => on.stop())

  it('is read back from the custody log: whose it is, why it was taken, and its digest', async () => {
    expect(taken.identity).toMatchObject({ namespace: 'shop', pod: 'web-node-a', source: 'observed' })
    const manifest = await readManifest()
    expect(manifest).toMatchObject({ capture: { reason: REASON, podLabels: { app: 'web' } } })

    await agent.kill9()
    removeState('index.db')
    agent = await on.startAgent()
    expect({ ...(await readWhenReady(taken.id)), discoveredAt: '' }).toEqual({ ...taken, discoveredAt: '' })
    const { capture } = await readManifest()
    expect(capture).toEqual(manifest.capture)
    expect(await findJobs(agent)).toEqual([])
    const verified = await agent.request('POST', `/v1/checkpoints/${taken.id}/verify`)
    expect(verified.json()).toMatchObject({ intact: true, custody: 'same' })
  })

  it('is gone with the log too, and then nothing is claimed', async () => {
    await agent.kill9()
    removeState('index.db')
    removeState('custody')
    agent = await on.startAgent()
    const { identity } = await readWhenReady(taken.id)
    expect(identity).toEqual({ ...taken.identity, source: 'archive' })
    expect(await readManifest()).not.toHaveProperty('capture')
  })

  async function readWhenReady(id: string): Promise<CheckpointResponse> {
    return await vi.waitUntil(
      async () => {
        const answer = await agent.request('GET', `/v1/checkpoints/${id}`)
        const checkpoint = answer.json<CheckpointResponse>()
        return checkpoint.state === 'ready' ? checkpoint : undefined
      },
      { timeout: 60_000, interval: 50 },
    )
  }

  async function readManifest(): Promise<{ readonly capture?: unknown }> {
    const answer = await agent.request('GET', `/v1/checkpoints/${taken.id}/manifest`)
    const { payload } = answer.json<{ payload: string }>()
    const statement = JSON.parse(Buffer.from(payload, 'base64').toString()) as { predicate: { capture?: unknown } }
    return statement.predicate
  }

  /** Of the agent's own folder, all that begins so but its key. */
  function removeState(prefix: string): void {
    const state = join(on.node.workDir, 'agent/state')
    const removed = readdirSync(state).filter((name) => name.startsWith(prefix) && !name.endsWith('.pem'))
    expect(removed).not.toEqual([])
    for (const name of removed) rmSync(join(state, name), { recursive: true })
  }
})
