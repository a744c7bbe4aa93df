import { describe, expect, it } from 'vitest'
import { PollLoop } from '../../src/shared/poll-loop.ts'

describe('PollLoop', () => {
  it('polls at once and then after each interval, one call at a time, until it is stopped', async () => {
    const log: string[] = []
    let calls = 0
    const third = Promise.withResolvers<void>()
    const loop = new PollLoop({
      poll: async () => {
        log.push('begin')
        await Promise.resolve()
        log.push('end')
        calls += 1
        if (calls === 3) third.resolve()
      },
      intervalMs: () => calls,
    })
    expect(log).toEqual([])
    loop.start()
    loop.start()
    await third.promise
    await loop.stop()
    const seen = log.length
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(log).toHaveLength(seen)
    expect(log.slice(0, 6)).toEqual(['begin', 'end', 'begin', 'end', 'begin', 'end'])
  })

  it('waits at its stop for the call under way, which hears of it', async () => {
    const begun = Promise.withResolvers<void>()
    let heard = false
    const loop: PollLoop = new PollLoop({
      poll: async () => {
        begun.resolve()
        await new Promise((resolve) => loop.signal.addEventListener('abort', resolve))
        heard = true
      },
      intervalMs: 1,
    })
    loop.start()
    await begun.promise
    await loop.stop()
    expect(heard).toBe(true)
  })

  it('can be stopped before it starts', async () => {
    await new PollLoop({ poll: () => expect.unreachable(), intervalMs: 1 }).stop()
  })
})
