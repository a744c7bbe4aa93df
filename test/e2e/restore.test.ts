import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { CheckpointResponse } from '../../src/api/checkpoint-schemas.ts'
import { AGE_IDENTITIES } from '../support/age-program.ts'
import type { AgentProcess } from '../support/agent-process.ts'
import { installPrograms } from './harness/client-programs.ts'
import { startRegistry, type LoopbackRegistry } from './harness/loopback-registry.ts'
import { readCounter, removePod, runPod } from './harness/test-pods.ts'
import { startAgentNode, type AgentNode } from './support/agent-node.ts'
import { capture } from './support/captures-client.ts'

const run = promisify(execFile)

/** A container that begins anew needs ten seconds to get there. */
const WELL_ON = 50
const PATIENT = { timeout: 60_000, interval: 100 }

// The shell alone, as in the other test pods.
const COUNT = [
  'sh',
  '-c',
  'n=0; mkfifo /tmp/tick; exec 3<>/tmp/tick; while :; do n=$((n+1)); echo $n 1<>/tmp/count; read -t 0.2 _ <&3; done',
]

describe('a running counter that was captured and downloaded, restored by containerd 2.1', () => {
  let on: AgentNode
  let registry: LoopbackRegistry | undefined
  let agent: AgentProcess
  let checkpoint: CheckpointResponse
  /** The original's number right before it was captured, and a moment later. */
  let before: number
  let after: number

  beforeAll(async () => {
    await installPrograms('age', 'curl')
    on = await startAgentNode({ containerd: '2.1', name: 'restore' })
    agent = await on.startAgent()
    const { admin, placement } = on.node
    registry = await startRegistry(on.node)
    const image = registry.busybox
    await admin.pullImage(image)
    const containers = [{ name: 'counter', image, command: COUNT }]
    const pod = await runPod(admin, { namespace: 'shop', name: 'web-0', ...placement, containers })
    const container = pod.containers['counter'] ?? ''
    await vi.waitUntil(async () => (await readCounter(admin, container)) > WELL_ON, PATIENT)
    before = await readCounter(admin, container)
    const { items } = await capture(agent, { namespace: 'shop', pod: 'web-0', container: 'counter' })
    after = await readCounter(admin, container)
    await vi.waitUntil(async () => {
      const answer = await agent.request('GET', `/v1/checkpoints/${items[0]?.id ?? ''}`)
      checkpoint = answer.json<CheckpointResponse>()
      return checkpoint.state === 'ready'
    }, PATIENT)
    // What is restored must not lean on anything of the original.
    await removePod(admin, pod)
  })

  afterAll(async () => {
    await registry?.stop()
    await on.stop()
  })

  it('as it is', async () => {
    const file = join(on.node.workDir, 'plain.tar')
    await run('curl', ['-sSf', '-o', file, urlOf('')])
    expect(digestOf(file)).toBe(checkpoint.sha256)
    expect(await restore(file, 'plain')).toBeGreaterThanOrEqual(before)
  })

  it('encrypted on the way, and opened with age', async () => {
    const [identity] = AGE_IDENTITIES
    const { workDir } = on.node
    const file = join(workDir, 'opened.tar')
    writeFileSync(join(workDir, 'key'), `${identity?.secret}\n`, { mode: 0o600 })
    await run('curl', ['-sSf', '-o', `${file}.age`, urlOf(`?recipient=${identity?.recipient}`)])
    expect(readFileSync(`${file}.age`, 'latin1').slice(0, 21)).toBe('age-encryption.org/v1')
    await run('age', ['-d', '-i', join(workDir, 'key'), '-o', file, `${file}.age`])
    expect(digestOf(file)).toBe(checkpoint.sha256)
    expect(await restore(file, 'opened')).toBeGreaterThanOrEqual(before)
  })

  function urlOf(query: string): string {
    return `http://127.0.0.1:${agent.port}/v1/checkpoints/${checkpoint.id}/archive${query}`
  }

  /** The number it begins with; resolves once it counts on. */
  async function restore(file: string, name: string): Promise<number> {
    const { admin, placement } = on.node
    // For containerd an image that is the path of a file is a checkpoint.
    const containers = [{ name: 'counter', image: file, command: COUNT }]
    const pod = await runPod(admin, { namespace: 'shop', name, ...placement, containers })
    const container = pod.containers['counter'] ?? ''
    const first = await readCounter(admin, container)
    await vi.waitUntil(async () => (await readCounter(admin, container)) > first + 5, PATIENT)
    console.log(`captured between ${before} and ${after}, restored at ${first}, and counts on`)
    await removePod(admin, pod)
    return first
  }
})

function digestOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}
