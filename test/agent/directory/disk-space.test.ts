import { tmpdir } from 'node:os'
import { describe, expect, it } from 'vitest'
import { assertRoom, floorBytes, readDiskSpace, sizeFactor } from '../../../src/agent/directory/disk-space.ts'
import { OutOfSpaceError } from '../../../src/shared/errors.ts'

const GIB = 1024 ** 3

describe('floorBytes', () => {
  it.each([
    { name: 'a small disk', totalBytes: 10 * GIB, expected: 2 * GIB },
    { name: 'a disk where both are the same', totalBytes: 40 * GIB, expected: 2 * GIB },
    { name: 'a large disk', totalBytes: 1000 * GIB, expected: 50 * GIB },
  ])('is the larger of 5 % and 2 GiB on $name', ({ totalBytes, expected }) => {
    expect(floorBytes({ fraction: 0.05, minFreeBytes: 2 * GIB }, { totalBytes, freeBytes: 0 })).toBe(expected)
  })
})

describe('sizeFactor', () => {
  it.each([
    { runtime: 'containerd', factor: 4 },
    { runtime: 'cri-o', factor: 2 },
    { runtime: undefined, factor: 4 },
    { runtime: 'something new', factor: 4 },
  ])('$runtime: $factor', ({ runtime, factor }) => {
    expect(sizeFactor(runtime)).toBe(factor)
  })
})

describe('assertRoom', () => {
  const floor = { fraction: 0.05, minFreeBytes: 2 * GIB }
  const disk = { totalBytes: 100 * GIB, freeBytes: 10 * GIB }

  it('lets pass what leaves just the floor', () => {
    expect(() => assertRoom(5 * GIB, floor, disk)).not.toThrow()
  })

  it('refuses a byte more, with the figures', () => {
    const error = failureOf(() => assertRoom(5 * GIB + 1, floor, disk))
    expect(error).toBeInstanceOf(OutOfSpaceError)
    expect(error).toMatchObject({
      code: 'DiskFloor',
      message: expect.stringContaining('10GiB free 5GiB must stay free'),
      extra: { needBytes: 5 * GIB + 1, freeBytes: 10 * GIB, floorBytes: 5 * GIB },
    })
  })

  it('refuses everything on a disk that is below the floor already', () => {
    expect(() => assertRoom(0, floor, { ...disk, freeBytes: 4 * GIB })).toThrow(OutOfSpaceError)
  })
})

describe('readDiskSpace', () => {
  it('is of the disk that the folder is on', async () => {
    const { totalBytes, freeBytes } = await readDiskSpace(tmpdir())
    expect(totalBytes).toBeGreaterThan(0)
    expect(freeBytes).toBeGreaterThanOrEqual(0)
    expect(freeBytes).toBeLessThanOrEqual(totalBytes)
  })

  it('fails for a folder that is not there', async () => {
    await expect(readDiskSpace('/no/such/folder')).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

function failureOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}
