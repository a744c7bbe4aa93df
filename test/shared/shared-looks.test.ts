import { describe, expect, it } from 'vitest'
import { SharedLooks } from '../../src/shared/shared-looks.ts'

/** Looks that end when the test says so. */
function scene() {
  const begun: { readonly key: string; readonly end: PromiseWithResolvers<number> }[] = []
  const looks = new SharedLooks<string, number>((key) => {
    const end = Promise.withResolvers<number>()
    begun.push({ key, end })
    return end.promise
  })
  return { begun, looks }
}

describe('SharedLooks', () => {
  it('begins at once where none is under way, and anew when the last has ended', async () => {
    const { begun, looks } = scene()
    for (const answer of [1, 2]) {
      const look = looks.look('a')
      expect(begun).toHaveLength(answer)
      begun.at(-1)?.end.resolve(answer)
      expect(await look).toBe(answer)
    }
  })

  it('gives everybody who comes meanwhile the next one, which begins after they asked', async () => {
    const { begun, looks } = scene()
    const first = looks.look('a')
    const crowd = Array.from({ length: 100 }, () => looks.look('a'))
    expect(begun).toHaveLength(1)
    begun[0]?.end.resolve(1)
    expect(await first).toBe(1)
    await expect.poll(() => begun.length).toBe(2)
    const late = looks.look('a')
    begun[1]?.end.resolve(2)
    expect(new Set(await Promise.all(crowd))).toEqual(new Set([2]))
    await expect.poll(() => begun.length).toBe(3)
    begun[2]?.end.resolve(3)
    expect(await late).toBe(3)
  })

  it('goes on after one that failed, which only its own callers are told', async () => {
    const { begun, looks } = scene()
    const failed = looks.look('a')
    const next = looks.look('a')
    begun[0]?.end.reject(new Error('no'))
    await expect(failed).rejects.toThrow('no')
    await expect.poll(() => begun.length).toBe(2)
    begun[1]?.end.resolve(2)
    expect(await next).toBe(2)
  })

  it('keeps what is looked at apart', async () => {
    const { begun, looks } = scene()
    void looks.look('a')
    void looks.look('b')
    expect(begun.map(({ key }) => key)).toEqual(['a', 'b'])
  })
})
