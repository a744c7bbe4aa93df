import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UserRate } from '../../src/http/user-rate.ts'

const MINUTE = 60_000

describe('UserRate', () => {
  it.each([1, 3, 7, 60, 600])('gives %i at once, and then one by one as they come in', (perMinute) => {
    const { rate, move } = limit(perMinute)
    for (let taken = 0; taken < perMinute; taken += 1) expect(rate.take('ada')).toBe(0)
    const wait = rate.take('ada')
    expect(wait).toBeCloseTo(MINUTE / perMinute, 3)
    move(wait - 1)
    expect(rate.take('ada')).toBeCloseTo(1, 3)
    move(1)
    expect(rate.take('ada')).toBe(0)
    expect(rate.take('ada')).toBeGreaterThan(0)
  })

  it('takes nothing where it refuses', () => {
    const { rate, move } = limit(1)
    rate.take('ada')
    for (let asked = 0; asked < 100; asked += 1) expect(rate.take('ada')).toBe(MINUTE)
    move(MINUTE)
    expect(rate.take('ada')).toBe(0)
  })

  it('is that of each user', () => {
    const { rate } = limit(2)
    while (rate.take('ada') === 0);
    expect(rate.take('grace')).toBe(0)
    expect(rate.take('Ada')).toBe(0)
  })

  it('forgets who has all of it again, and never keeps more users than it may', () => {
    const { rate, move } = limit(60, 100)
    for (let user = 0; user < 1000; user += 1) rate.take(`user-${String(user)}`)
    expect(rate.userCount).toBe(100)
    move(MINUTE)
    rate.take('ada')
    expect(rate.userCount).toBe(1)
  })

  it('never gives more than a minute and what has come in since, however it is asked', () => {
    const asks = fc.array(fc.record({ user: fc.constantFrom('a', 'b'), pause: fc.integer({ min: 0, max: 20_000 }) }))
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), asks, (perMinute, steps) => {
        const { rate, move } = limit(perMinute)
        let passed = 0
        const given = { a: 0, b: 0 }
        for (const { user, pause } of steps) {
          move(pause)
          passed += pause
          if (rate.take(user) === 0) given[user] += 1
        }
        const most = perMinute + (passed / MINUTE) * perMinute + 0.01
        expect(Math.max(given.a, given.b)).toBeLessThanOrEqual(most)
      }),
    )
  })
})

function limit(perMinute: number, maxUsers?: number) {
  let now = 1000
  const rate = new UserRate({ perMinute, now: () => now, ...(maxUsers !== undefined && { maxUsers }) })
  return { rate, move: (millis: number) => void (now += millis) }
}
