import { describe, expect, it } from 'vitest'
import { ExpiringCache } from '../../src/access/expiring-cache.ts'
import { movableClock } from '../support/movable-clock.ts'

describe('ExpiringCache', () => {
  it('keeps an answer for as long as it was told, counted from the question', async () => {
    const { clock, cache, ask } = open()
    await ask('a')
    clock.move(999)
    expect(cache.get('a', fail)).toMatchObject({ value: 1 })
    clock.move(1)
    expect((await ask('a')).value).toBe(2)
  })

  it('lets those who ask at once share one look-up', async () => {
    const { ask } = open()
    const answers = await Promise.all([ask('a'), ask('a'), ask('a'), ask('b')])
    expect(answers.map(({ value }) => value)).toEqual([1, 1, 1, 2])
  })

  it('keeps no failure, and tells it to all who wait', async () => {
    const { cache, ask } = open()
    const waiting = [cache.get('a', fail), cache.get('a', fail)]
    for (const each of waiting) await expect(each).rejects.toThrow('failed')
    expect((await ask('a')).value).toBe(1)
  })

  it('is bounded: what was not asked for the longest goes', async () => {
    const { cache, ask } = open()
    for (const key of ['a', 'b', 'c', 'a', 'd']) await ask(key)
    expect(cache.size).toBe(3)
    expect(cache.get('a', fail)).toMatchObject({ value: 1 })
    expect((await ask('b')).value).toBe(5)
  })

  it('takes room from the owner who has most, and from nobody else', async () => {
    const { cache, ask } = open()
    await ask('of ada', 'ada')
    for (let number = 0; number < 100; number += 1) await ask(`of eve: ${String(number)}`, 'eve')
    expect(cache.size).toBe(3)
    expect(cache.get('of ada', fail)).toMatchObject({ value: 1 })
    for (const number of [98, 99]) {
      expect(cache.get(`of eve: ${String(number)}`, fail)).toMatchObject({ value: number + 2 })
    }
    // Of those who have as much as each other one goes, and nobody more than that.
    await ask('of bob', 'bob')
    expect(cache.get('of ada', fail)).toMatchObject({ value: 1 })
    expect(cache.size).toBe(3)
  })

  it('keeps count of what is kept, whatever ends it', async () => {
    const { clock, cache, ask } = open()
    for (let round = 0; round < 10; round += 1) {
      for (const key of ['a', 'b', 'c']) await ask(key, 'eve')
      clock.move(1000)
    }
    await ask('d', 'ada')
    for (const key of ['a', 'b', 'c']) await ask(key, 'eve')
    expect(cache.size).toBe(3)
    expect(cache.get('d', fail)).toMatchObject({ value: 31 })
  })

  it('does not trust a clock that was set back', async () => {
    const { clock, ask } = open()
    await ask('a')
    clock.move(-1)
    expect((await ask('a')).value).toBe(2)
  })

  it('forgets what is being looked up when it is cleared', async () => {
    const { cache, ask } = open()
    const before = ask('a')
    cache.clear()
    await before
    expect(cache.size).toBe(0)
  })
})

function open() {
  const clock = movableClock()
  const cache = new ExpiringCache<number>({ clock, maxEntries: 3 })
  let count = 0
  const ask = async (key: string, owner?: string) =>
    cache.get(key, async () => ({ value: ++count, ttlMs: 1000, ...(owner !== undefined && { owner }) }))
  return { clock, cache, ask }
}

async function fail(): Promise<never> {
  throw new Error('failed')
}
