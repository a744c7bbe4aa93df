import { describe, expect, it } from 'vitest'
import { NodeEvents } from '../../../src/agent/status/node-events.ts'
import type { NodeEvent } from '../../../src/checkpoint/node-event.ts'
import type { CaptureJob } from '../../../src/checkpoint/capture-job.ts'
import { sampleCheckpoint } from '../../support/sample-checkpoints.ts'

const JOB: CaptureJob = {
  id: '01KAHN3J5S0000000000000000',
  requestedBy: 'test',
  wholePod: false,
  pin: false,
  queuedAt: new Date(0),
  captures: [],
}

function watching(events: NodeEvents, lastEventId?: string): NodeEvent[] {
  const seen: NodeEvent[] = []
  events.watch(lastEventId, (event) => seen.push(event))
  return seen
}

const idOf = (events: readonly NodeEvent[]) => events.at(-1)?.id ?? ''

describe('NodeEvents', () => {
  it('tells what happens from now on', () => {
    const events = new NodeEvents()
    events.emitRemoved('before')
    const seen = watching(events)
    events.emit('added', sampleCheckpoint(1))
    events.emitCapture(JOB)
    expect(seen.map(({ type }) => type)).toEqual(['added', 'capture'])
    expect(new Set(seen.map(({ id }) => id)).size).toBe(2)
  })

  it('tells one who comes back what it missed', () => {
    const events = new NodeEvents()
    const first = watching(events)
    events.emitRemoved('a')
    const last = idOf(first)
    events.emitRemoved('b')
    events.emitCapture(JOB)
    expect(watching(events, last).map(({ type, checkpointId }) => checkpointId ?? type)).toEqual(['b', 'capture'])
    expect(watching(events, idOf(first))).toEqual([])
  })

  it('tells progress to those who watch, and to nobody later', () => {
    const events = new NodeEvents()
    const seen = watching(events)
    events.emitCapture(JOB)
    const state = idOf(seen)
    for (let tick = 0; tick < 2_000; tick += 1) events.emitProgress(JOB)
    expect(seen).toHaveLength(2_001)
    expect(watching(events, state)).toEqual([])
  })

  it('misses nothing for one who saw progress last', () => {
    const events = new NodeEvents()
    const seen = watching(events)
    events.emitCapture(JOB)
    events.emitProgress(JOB)
    const last = idOf(seen)
    events.emitRemoved('a')
    expect(watching(events, last).map(({ checkpointId }) => checkpointId)).toEqual(['a'])
  })

  it.each([
    { name: 'of an earlier run', lastEventId: '01KAHN3J5S0000000000000000-1' },
    { name: 'that was never told', lastEventId: 'later' },
    { name: 'that is no number', lastEventId: 'a-b' },
  ])('asks one with an event $name to read the list again', ({ lastEventId }) => {
    const events = new NodeEvents()
    events.emitRemoved('a')
    expect(watching(events, lastEventId).map(({ type }) => type)).toEqual(['resync'])
  })

  it('asks one who was away for too long to read the list again, and goes on from there', () => {
    const events = new NodeEvents()
    const seen = watching(events)
    events.emitRemoved('first')
    const last = idOf(seen)
    for (let count = 0; count < 1_001; count += 1) events.emitRemoved(`${count}`)
    const again = watching(events, last)
    expect(again.map(({ type }) => type)).toEqual(['resync'])
    expect(watching(events, idOf(again))).toEqual([])
  })
})
