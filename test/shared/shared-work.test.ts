import { describe, expect, it } from 'vitest'
import { SharedWork } from '../../src/shared/shared-work.ts'
import { CallerLeftError } from '../../src/shared/errors.ts'

describe('SharedWork', () => {
  it('is done once for all who want it at the same time, and again for who comes later', async () => {
    const { shared, begun, work, finish } = open()
    const waiting = [shared.join('a', work), shared.join('a', work), shared.join('b', work)]
    expect(begun()).toBe(2)
    expect(shared.isRunning('a')).toBe(true)
    finish('done')
    expect(await Promise.all(waiting)).toEqual(['done', 'done', 'done'])
    expect(shared.isRunning('a')).toBe(false)
    expect(await shared.join('a', async () => 'again')).toBe('again')
  })

  it('ends with its last caller, and not before', async () => {
    const { shared, work, signals } = open()
    const callers = [new AbortController(), new AbortController(), new AbortController()]
    const waiting = callers.map(({ signal }) => shared.join('a', work, signal))
    for (const [index, caller] of callers.entries()) {
      expect(signals[0]?.aborted).toBe(false)
      caller.abort()
      await expect(waiting[index]).rejects.toBeInstanceOf(CallerLeftError)
    }
    expect(signals[0]?.aborted).toBe(true)
    expect(shared.isRunning('a')).toBe(false)
  })

  it('gives who comes after the last one left a run of their own', async () => {
    const { shared, work, begun, finish } = open()
    const caller = new AbortController()
    const left = shared.join('a', work, caller.signal)
    caller.abort()
    await expect(left).rejects.toBeInstanceOf(CallerLeftError)
    const later = shared.join('a', work)
    expect(begun()).toBe(2)
    finish('done')
    expect(await later).toBe('done')
  })

  it('fails for all, and leaves nothing behind that nobody hears of', async () => {
    const shared = new SharedWork<string>()
    for (const waiting of [shared.join('a', fail), shared.join('a', fail)]) {
      await expect(waiting).rejects.toThrow('broken')
    }
    const caller = new AbortController()
    caller.abort()
    await expect(shared.join('a', fail, caller.signal)).rejects.toBeInstanceOf(CallerLeftError)
    expect(shared.isRunning('a')).toBe(false)
  })

  it('tells who waits to begin it that somebody else has', async () => {
    const { shared, work, finish } = open()
    const joined = shared.unlessBegun('a', async (begun) => {
      await new Promise((resolve) => begun.addEventListener('abort', resolve))
      return shared.join('a', work)
    })
    const other = shared.unlessBegun('b', async (begun) => begun)
    const run = shared.join('a', work)
    finish('done')
    expect(await Promise.all([run, joined])).toEqual(['done', 'done'])
    expect((await other).aborted).toBe(false)
  })
})

async function fail(): Promise<string> {
  throw new Error('broken')
}

function open() {
  const shared = new SharedWork<string>()
  const signals: AbortSignal[] = []
  const result = Promise.withResolvers<string>()
  const work = async (signal: AbortSignal): Promise<string> => {
    signals.push(signal)
    return result.promise
  }
  return { shared, signals, work, begun: () => signals.length, finish: result.resolve }
}
