import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Problem, ProblemError } from '../../src/checkpoint/problem.ts'
import { readCriuVersion } from '../../src/criu/dump-log.ts'
import { readDumpStatistics } from '../../src/criu/dump-statistics.ts'
import type { ImageDirectory } from '../../src/criu/image-directory.ts'
import { readInventory } from '../../src/criu/inventory.ts'
import { readProcessTree } from '../../src/criu/process-tree.ts'
import { ProtobufReader } from '../../src/criu/protobuf-reader.ts'
import { field, imageOf, messageOf, varintField } from '../support/raw-image.ts'

const RUNS = process.env['SLOW'] === '1' ? 100_000 : 2000
const only = (name: string, bytes: Buffer): ImageDirectory => ({
  read: (asked) => (asked === name ? bytes : undefined),
})
const unsupported = (reason: RegExp) => ({ kind: 'unsupported', reason: expect.stringMatching(reason) })
const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

const INVENTORY = 0x58313116
const PSTREE = 0x50273030
const STATS = 0x57093306
const SERVICE = 0x55105940

describe('readProcessTree', () => {
  it('reads the image of a container that counts', () => {
    const bytes = hex('19435654 30302750 0a000000 08011000180120012801 0a000000 080a100118012001280a')
    const tree = readProcessTree(only('pstree.img', bytes), shouldNot)
    expect(tree.processCount).toBe(2)
    expect([...tree.parents]).toEqual([
      [1, 0],
      [10, 1],
    ])
  })

  it('reads images of the first format, which have one magic', () => {
    const bytes = imageOf(PSTREE, { common: undefined }, messageOf(varintField(1, 1), varintField(2, 0)))
    expect(readProcessTree(only('pstree.img', bytes), shouldNot).processCount).toBe(1)
  })

  it('takes packed threads, fields that it does not know, and the last of two values', () => {
    const entry = messageOf(
      varintField(1, 7),
      varintField(1, 1),
      field(5, Buffer.from([1, 2, 3])),
      varintField(99, 2n ** 64n - 1n),
      Buffer.from([0x31, 1, 2, 3, 4, 5, 6, 7, 8]),
      Buffer.from([0x3d, 1, 2, 3, 4]),
      varintField(2, 0),
    )
    expect([...readProcessTree(only('pstree.img', imageOf(PSTREE, entry)), shouldNot).parents]).toEqual([[1, 0]])
  })

  it('takes several roots, and threads of dead processes for nothing', () => {
    const entries = [1, 2].map((pid) => messageOf(varintField(1, pid), varintField(2, 0), varintField(5, 1868537760)))
    expect(readProcessTree(only('pstree.img', imageOf(PSTREE, ...entries)), shouldNot).processCount).toBe(2)
  })

  it('is done with a hundred thousand processes below each other', () => {
    const entries = Array.from({ length: 100_000 }, (_, index) =>
      messageOf(varintField(1, index + 1), varintField(2, index)),
    )
    const start = performance.now()
    expect(readProcessTree(only('pstree.img', imageOf(PSTREE, ...entries.toReversed())), shouldNot).processCount).toBe(
      100_000,
    )
    expect(performance.now() - start).toBeLessThan(10_000)
  })
})

describe('readDumpStatistics', () => {
  it('reads the figures of CRIU', () => {
    const dump = messageOf(varintField(1, 463), varintField(2, 34_219), varintField(5, 48), varintField(7, 2n ** 40n))
    expect(readDumpStatistics(only('stats-dump', imageOf(STATS, { common: SERVICE }, field(1, dump))))).toEqual({
      freezingMicros: 463,
      frozenMicros: 34_219,
      pagesScanned: 48,
      pagesWritten: 2 ** 40,
    })
  })

  it('gives nothing where there is nothing, or only those of a restore', () => {
    expect(readDumpStatistics({ read: () => undefined })).toBeUndefined()
    const restore = field(2, messageOf(varintField(1, 1)))
    expect(readDumpStatistics(only('stats-dump', imageOf(STATS, { common: SERVICE }, restore)))).toBeUndefined()
  })

  it('leaves out a figure of the wrong type', () => {
    const dump = messageOf(field(2, Buffer.from('x')), varintField(1, 5))
    expect(readDumpStatistics(only('stats-dump', imageOf(STATS, { common: SERVICE }, field(1, dump))))).toEqual({
      freezingMicros: 5,
    })
  })
})

describe('readInventory', () => {
  it('knows a dump of memory alone', () => {
    expect(readInventory(inventory(varintField(1, 2), varintField(8, 1)))).toEqual({
      imageVersion: 2,
      isPreDump: true,
      pageCompression: { kind: 'none' },
    })
  })

  it('shows a run id that is one, and nothing else', () => {
    const id = 'c8ca9c80-7968-46e6-8d68-5831aac1ae72'
    expect(readInventory(inventory(varintField(1, 2), field(13, Buffer.from(id)))).runId).toBe(id)
    expect(readInventory(inventory(varintField(1, 2), field(13, Buffer.from('\u001b[2J'))))).not.toHaveProperty('runId')
  })

  it.each([
    ['version 2', [varintField(1, 2)], { kind: 'none' }],
    ['version 3 without compression', [varintField(1, 3), varintField(15, 0)], { kind: 'none' }],
    ['a writer that does not know of it', [varintField(1, 3)], { kind: 'none' }],
    [
      'blocks of 256 KiB',
      [varintField(1, 3), varintField(15, 1), varintField(16, 262_144)],
      { kind: 'lz4', blockBytes: 262_144 },
    ],
    [
      'blocks of 4 MiB, its fields in another order',
      [varintField(16, 4_194_304), varintField(15, 1), varintField(1, 3)],
      { kind: 'lz4', blockBytes: 4_194_304 },
    ],
    [
      'a draft of version 2',
      [varintField(1, 2), varintField(15, 1), varintField(16, 262_144)],
      unsupported(/draft .* version 2/),
    ],
    ['a draft by page', [varintField(1, 3), varintField(15, 1)], unsupported(/draft .* page by page/)],
    [
      'a draft by region',
      [varintField(1, 3), varintField(15, 2), varintField(16, 262_144)],
      unsupported(/draft .* by region/),
    ],
    ['a kind to come', [varintField(1, 3), varintField(15, 7)], unsupported(/unknown .* 7/)],
    [
      'blocks that are too large',
      [varintField(1, 3), varintField(15, 1), varintField(16, 8_388_608)],
      unsupported(/8388608/),
    ],
    ['blocks that are no pages', [varintField(1, 3), varintField(15, 1), varintField(16, 5000)], unsupported(/5000/)],
    ['a mode of 64 bits', [varintField(1, 3), varintField(15, 2n ** 64n - 1n)], unsupported(/unknown/)],
  ])('tells how pages are stored: %s', (_, fields, expected) => {
    expect(readInventory(inventory(...fields)).pageCompression).toEqual(expected)
  })
})

describe('readCriuVersion', () => {
  it.each([
    ['(00.000038) Version: 4.2.1 (gitid 0)\n', '4.2.1'],
    ['(00.000000) CRIU run id = x\n(00.000055) Version: 3.17.1 (gitid v3.17.1-dirty)\n', '3.17.1'],
    ['(00.000038) Version: 4.3-rc1\n', '4.3-rc1'],
    ['', undefined],
    ['Version: 9.9 in the name of a file\n', undefined],
    ['(00.000038) Version: \u001b[2J\n', undefined],
    [`(00.000038) Version: 4.${'2'.repeat(100)}\n`, undefined],
    ['(00.1) Opening "/x\n(00.2) Version: 1.0\n"\n', '1.0'],
  ])('%j: %s', (text, expected) => {
    expect(readCriuVersion(only('dump.log', Buffer.from(text)))).toBe(expected)
  })
})

describe('the readers of images', () => {
  it('throw nothing but a ProblemError, and end', () => {
    const magics = fc.constantFrom('19435654 30302750', '30302750', '16313158', '40591055 06330957', '')
    fc.assert(
      fc.property(magics, fc.uint8Array({ maxLength: 100 }), (magic, bytes) => {
        const images: ImageDirectory = { read: () => Buffer.concat([hex(magic), bytes]) }
        const outcomes = [
          outcomeOf(() => readInventory(images)),
          outcomeOf(() => readProcessTree(images, () => undefined)),
          outcomeOf(() => readDumpStatistics(images)),
          outcomeOf(() => readCriuVersion(images)),
        ]
        expect(outcomes).toHaveLength(4)
      }),
      { numRuns: RUNS },
    )
  })

  it('read numbers of 64 bits as they were written', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.integer({ min: 1, max: 2 ** 29 - 1 }),
        (value, number) => {
          const reader = new ProtobufReader(varintField(number, value), 'test')
          expect(reader.next()).toBe(true)
          expect(reader.field).toBe(number)
          expect(reader.uint32()).toBe(Number(value & 0xffff_ffffn))
          const isSafe = value <= BigInt(Number.MAX_SAFE_INTEGER)
          expect(outcomeOf(() => reader.count())).toBe(isSafe ? Number(value) : 'NumberTooLarge')
          expect(reader.next()).toBe(false)
        },
      ),
      { numRuns: RUNS },
    )
  })
})

function inventory(...fields: readonly Buffer[]): ImageDirectory {
  return only('inventory.img', imageOf(INVENTORY, { common: undefined }, messageOf(...fields)))
}

/** What it gives, or the code of its problem; anything else that it throws is an error of the reader. */
function outcomeOf(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    if (error instanceof ProblemError) return error.problem.code
    throw error
  }
}

function shouldNot(problem: Problem): never {
  throw new Error(`unexpected ${problem.code}`)
}
