import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { HashBacklog, type UnhashedFile } from '../../../src/agent/hashing/hash-backlog.ts'

const file = (index: number): UnhashedFile => ({ id: String(index), generation: `${index}:1:1`, name: `${index}.tar` })

it('hands over a few files at a time, in order, and those alone that were there when they became due', async () => {
  const under = new Map<string, () => void>()
  const begun: string[] = []
  const backlog = new HashBacklog(async ({ id }) => {
    begun.push(id)
    await new Promise<void>((resolve) => under.set(id, resolve))
    under.delete(id)
  })
  for (let index = 0; index < 100; index += 1) backlog.add(file(index))
  expect(begun).toEqual([])
  backlog.release()
  backlog.add(file(100))
  while (begun.length < 100) {
    expect(under.size).toBe(Math.min(16, 100 - begun.length + under.size))
    under.get(begun[begun.length - under.size] ?? '')?.()
    await nextTurn()
  }
  for (const end of under.values()) end()
  await nextTurn()
  expect(begun).toEqual(Array.from({ length: 100 }, (_, index) => String(index)))
  expect(backlog.length).toBe(1)
  backlog.release()
  expect(begun.at(-1)).toBe('100')
})
