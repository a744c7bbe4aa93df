import { expect, it } from 'vitest'
import { takeBuffers } from '../../../src/agent/content/buffer-budget.ts'

const MIB = 1024 * 1024

it('gives the first readers large buffers, hundreds of them some MiB more together, and takes all of it back', () => {
  const readers = Array.from({ length: 300 }, () => takeBuffers(MIB))
  const sizes = readers.map(({ buffers }) => buffers.map(({ length }) => length))
  expect(sizes.slice(0, 16)).toEqual(Array.from({ length: 16 }, () => [256 * 1024, 256 * 1024]))
  expect(Math.min(...sizes.flat())).toBe(16 * 1024)
  expect(sizes.flat().reduce((sum, length) => sum + length, 0)).toBeLessThan(26 * MIB)
  for (const { free } of readers) free()
  const { buffers, free } = takeBuffers(MIB)
  free()
  expect(buffers.map(({ length }) => length)).toEqual([256 * 1024, 256 * 1024])
})

it('gives no more than is wanted', () => {
  const sizes = [0, 1, 70_000].map((wanted) => {
    const { buffers, free } = takeBuffers(wanted)
    free()
    return buffers.map(({ length }) => length)
  })
  expect(sizes).toEqual([[], [1], [70_000]])
})
