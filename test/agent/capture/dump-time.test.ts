import { expect, it, vi } from 'vitest'
import { slow } from '../../support/simulated-runtime-faults.ts'
import { startTestAgent } from '../../support/test-agent.ts'

it('a checkpoint of ours shows how long its dump took: the container stood still for longer than CRIU says', async () => {
  await using test = await startTestAgent()
  test.runtime.webPod()
  test.runtime.faults.next(slow(400))
  const wish = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'test' }
  const { id } = await test.agent.captures.request(wish)
  const [capture] = (await test.agent.captures.wait(id, {})).captures
  const dump = capture?.phases.find(({ name }) => name === 'dump')
  expect(dump?.millis).toBeGreaterThanOrEqual(395)
  await vi.waitFor(async () => {
    const { summary, state } = await test.agent.checkpoints.get(capture?.archive?.checkpointId ?? '')
    expect(state).toBe('ready')
    expect(summary.dumpMillis).toBe(dump?.millis)
    expect(summary.dumpStatistics?.['frozenMicros']).toBeLessThan((dump?.millis ?? 0) * 1000)
  }, 20_000)
})
