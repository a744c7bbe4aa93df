import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { collectWhenIdle } from '../../src/shared/idle-collection.ts'

const LOOK_MS = 2_000

describe('the collection of garbage when idle', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('comes once, when the work is over', () => {
    const { process, spend } = start()
    spend(1_800, 1_800, 600)
    expect(process.collections).toBe(0)
    spend(2, 2, 2)
    expect(process.collections).toBe(1)
    spend(700, 3)
    expect(process.collections).toBe(2)
  })

  it('comes once in minutes while there is next to nothing to do', () => {
    const { process, spend } = start()
    spend(...Array.from({ length: 150 }, () => 4))
    expect(process.collections).toBe(1)
  })

  it('needs a process that may ask for it', () => {
    collectWhenIdle({ collect: undefined })
    expect(vi.getTimerCount()).toBe(globalThis.gc === undefined ? 0 : 1)
  })
})

function start() {
  const process = { busyMs: 0, collections: 0 }
  collectWhenIdle({
    collect: () => {
      process.collections += 1
      process.busyMs += 40
    },
    busyMs: () => process.busyMs,
  })
  const spend = (...busy: readonly number[]) => {
    for (const millis of busy) {
      process.busyMs += millis
      vi.advanceTimersByTime(LOOK_MS)
    }
  }
  return { process, spend }
}
