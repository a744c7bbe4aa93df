import { expect, it } from 'vitest'
import { takeShare } from '../../src/streams/buffer-budget.ts'

const KIB = 1024

it('gives the first readers the largest pieces, hundreds of them some MiB more together, and takes all of it back', () => {
  const readers = Array.from({ length: 300 }, () => takeShare(3))
  const sizes = readers.map(({ pieceBytes }) => pieceBytes)
  expect(sizes.slice(0, 8)).toEqual(Array.from({ length: 8 }, () => 128 * KIB))
  expect(Math.min(...sizes)).toBe(16 * KIB)
  expect(sizes.reduce((sum, bytes) => sum + 3 * bytes, 0)).toBeLessThan(25 * KIB * KIB)
  for (const { free } of readers) free()
  const { pieceBytes, free } = takeShare(3)
  free()
  expect(pieceBytes).toBe(128 * KIB)
})
