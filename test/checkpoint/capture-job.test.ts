import { describe, expect, it } from 'vitest'
import { jobState, type CaptureState, type ContainerCapture } from '../../src/checkpoint/capture-job.ts'

const identity = { namespace: 'shop', pod: 'web-0', podUid: 'u', container: 'counter', containerId: 'c' }

describe('jobState', () => {
  it.each<{ captures: readonly CaptureState[]; state: CaptureState }>([
    { captures: ['queued'], state: 'queued' },
    { captures: ['running'], state: 'running' },
    { captures: ['sealing'], state: 'sealing' },
    { captures: ['succeeded'], state: 'succeeded' },
    { captures: ['cancelled'], state: 'cancelled' },
    { captures: ['unknown-outcome'], state: 'unknown-outcome' },
    { captures: ['queued', 'queued'], state: 'queued' },
    { captures: ['succeeded', 'queued'], state: 'running' },
    { captures: ['failed', 'queued'], state: 'running' },
    { captures: ['failed', 'sealing'], state: 'sealing' },
    { captures: ['succeeded', 'succeeded'], state: 'succeeded' },
    { captures: ['succeeded', 'failed'], state: 'failed' },
    { captures: ['cancelled', 'failed'], state: 'failed' },
    { captures: ['succeeded', 'cancelled'], state: 'cancelled' },
    { captures: ['unknown-outcome', 'cancelled'], state: 'unknown-outcome' },
  ])('$captures is $state as a whole', ({ captures, state }) => {
    const job = {
      id: 'j',
      requestedBy: 'test',
      wholePod: true,
      pin: false,
      queuedAt: new Date(0),
      captures: captures.map((each): ContainerCapture => ({ identity, state: each, bytesWritten: 0, phases: [] })),
    }
    expect(jobState(job)).toBe(state)
  })
})
