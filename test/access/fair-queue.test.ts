import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { FairQueue } from '../../src/access/fair-queue.ts'

describe('FairQueue', () => {
  it('runs so many at once, and so many of one key', async () => {
    const queue = new FairQueue<string>({ atOnce: 4, perKey: 2, maxWaiting: 1000 })
    const running = new Map<string, number>()
    let most = 0
    let mostOfOne = 0
    const work = (key: string) => async () => {
      running.set(key, (running.get(key) ?? 0) + 1)
      most = Math.max(
        most,
        [...running.values()].reduce((sum, count) => sum + count),
      )
      mostOfOne = Math.max(mostOfOne, running.get(key) ?? 0)
      await sleep(1)
      running.set(key, (running.get(key) ?? 0) - 1)
      return key
    }
    const keys = Array.from({ length: 200 }, (_, number) => `key-${String(number % 2)}`)
    expect(await Promise.all(keys.map((key) => queue.run(key, work(key))))).toEqual(keys)
    expect({ most, mostOfOne }).toEqual({ most: 4, mostOfOne: 2 })
    expect(queue.waitingCount).toBe(0)
  })

  it('lets who asks for little go before the rest of who asks for much', async () => {
    const queue = new FairQueue<string>({ atOnce: 1, perKey: 1, maxWaiting: 1000 })
    const order: string[] = []
    const ask = (key: string) => queue.run(key, async () => void order.push(key))
    const asked = [...Array.from({ length: 50 }, () => ask('eve')), ask('ada'), ask('grace'), ask('ada')]
    await Promise.all(asked)
    expect(order.lastIndexOf('ada')).toBeLessThan(6)
    expect(order.indexOf('grace')).toBeLessThan(4)
    expect(order).toHaveLength(53)
  })

  it('refuses the last of who has most waiting, where too many wait', async () => {
    const { queue, end, ask, told } = blocked({ maxWaiting: 3 })
    const asked = [ask('eve', 1), ask('eve', 2), ask('ada', 3), ask('eve', 4), ask('grace', 5)]
    await expect.poll(() => told).toEqual(['eve 4: refused', 'eve 2: refused'])
    end()
    await Promise.all(asked)
    expect(told.slice(2)).toEqual(['eve 1: done', 'ada 3: done', 'grace 5: done'])
    expect(queue.waitingCount).toBe(0)
  })

  it('refuses who has waited for too long', async () => {
    const { queue, end, ask, told } = blocked({ maxWaiting: 10, maxWaitMs: 50 })
    await ask('ada', 1)
    expect(told).toEqual(['ada 1: refused'])
    expect(queue.waitingCount).toBe(0)
    end()
    await ask('ada', 2)
    expect(told.at(-1)).toBe('ada 2: done')
  })

  it('goes on after a failure', async () => {
    const queue = new FairQueue<string>({ atOnce: 1, perKey: 1, maxWaiting: 10 })
    const failing = queue.run('ada', () => Promise.reject(new Error('no')))
    const next = queue.run('ada', async () => 'yes')
    await expect(failing).rejects.toThrow('no')
    expect(await next).toBe('yes')
  })
})

/** One that is under way until `end`, and others behind it. */
function blocked(limits: { readonly maxWaiting: number; readonly maxWaitMs?: number }) {
  const queue = new FairQueue<string>({ atOnce: 1, perKey: 1, ...limits })
  const { promise, resolve } = Promise.withResolvers<void>()
  void queue.run('first', () => promise)
  const told: string[] = []
  const ask = async (key: string, number: number) => {
    const outcome = await queue.run(key, async () => 'done').catch(() => 'refused')
    told.push(`${key} ${String(number)}: ${outcome}`)
  }
  return { queue, end: resolve, ask, told }
}
