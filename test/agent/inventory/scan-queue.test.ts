import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ScanQueue } from '../../../src/agent/inventory/scan-queue.ts'

describe('a file that rests', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('is told of once when its rest is over, if something has happened to it', () => {
    const rested: string[] = []
    const queue = new ScanQueue((name) => rested.push(name))
    queue.rest('a.tar')
    queue.rest('b.tar')
    queue.addUnlessResting('a.tar')
    queue.addUnlessResting('a.tar')
    expect(queue.isEmpty).toBe(true)
    vi.runAllTimers()
    expect(rested).toEqual(['a.tar'])
  })

  it('is told of for what happens while it is looked at during its rest', () => {
    const rested: string[] = []
    const queue = new ScanQueue((name) => rested.push(name))
    queue.rest('a.tar')
    queue.add('a.tar')
    const [flight] = queue.take(1)
    if (flight === undefined) throw new Error('nothing was taken')
    // It is removed: the look has seen it before.
    queue.addUnlessResting('a.tar')
    queue.rest('a.tar')
    queue.end(flight)
    vi.runAllTimers()
    expect(rested).toEqual(['a.tar'])
  })
})
