import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ArchiveSummary, summarizeArchive } from '../../src/agent/inspection/archive-summary.ts'
import { ARCHIVE_PROBLEM_CODES } from '../../src/archive/archive-problem.ts'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { IMAGE_PROBLEM_CODES } from '../../src/criu/image-problem.ts'
import { splitTar } from '../support/raw-tar.ts'
import { fixtureArchive, unpacked } from './real-archives.ts'

const RUNS = process.env['SLOW'] === '1' ? 20_000 : 300
const CODES: ReadonlySet<string> = new Set([...ARCHIVE_PROBLEM_CODES, ...IMAGE_PROBLEM_CODES])

const containerd = fixtureArchive('containerd-2.1-counter')
const podmanGzip = fixtureArchive('podman-5.8-gzip')
const podmanZstd = fixtureArchive('podman-5.8-zstd')

const summarize = (bytes: Uint8Array) => summarizeArchive(bufferSource(bytes))

describe('an archive cut off after each block', () => {
  it.each([
    { name: 'containerd', archive: containerd },
    { name: 'CRI-O', archive: fixtureArchive('crio-1.36-counter') },
    { name: 'Podman', archive: unpacked(podmanZstd) },
  ])('of $name is incomplete, and tells what came before the cut', async ({ archive }) => {
    const whole = await summarize(archive)
    const members = splitTar(archive)
    const ends = endsOf(members)
    for (let size = 0; size < archive.length; size += 512) {
      const summary = await summarize(archive.subarray(0, size))
      const codes = summary.problems.map(({ code }) => code)
      expect({ size, state: summary.state, count: codes.length }).toEqual({ size, state: 'incomplete', count: 1 })
      const isThere = (name: string) => (ends.get(name) ?? Infinity) <= size
      const isDescribed = isThere('spec.dump') && isThere('config.dump')
      expect(isDescribed ? [summary.engine, summary.claim.pod, summary.image.name] : []).toEqual(
        isDescribed ? [whole.engine, whole.claim.pod, whole.image.name] : [],
      )
      expect(summary.processCount).toBe(isThere('checkpoint/pstree.img') ? whole.processCount : undefined)
      expect(summary.dumpStatistics).toEqual(isThere('stats-dump') ? whole.dumpStatistics : undefined)
      expect(summary.memoryBytes).toBe(memoryBefore(members, ends, size))
    }
  })

  it.each([
    { name: 'gzip', archive: podmanGzip },
    { name: 'zstd', archive: podmanZstd },
  ])('and packed with $name is incomplete', async ({ archive }) => {
    for (let size = 0; size < archive.length; size += 512) {
      const summary = await summarize(archive.subarray(0, size))
      expect({ size, state: summary.state }).toEqual({ size, state: 'incomplete' })
    }
  })
})

describe('an archive with other bytes in it', () => {
  const change = fc.record({
    at: fc.nat(),
    kind: fc.constantFrom('flip', 'zero', 'fill', 'copy', 'drop', 'insert', 'cut'),
    other: fc.nat(),
    length: fc.integer({ min: 1, max: 2048 }),
    byte: fc.integer({ min: 0, max: 255 }),
  })
  const changes = fc.array(change, { minLength: 1, maxLength: 4 })

  it.each([
    { name: 'containerd', archive: containerd, within: containerd.length },
    // What a flip in memory pages does is nothing; here are the headers and the metadata.
    { name: 'containerd, behind the memory', archive: containerd.subarray(177_664), within: 90_000 },
    { name: 'Podman, in front of the memory', archive: unpacked(podmanZstd), within: 60_000 },
    { name: 'Podman, packed with gzip', archive: podmanGzip, within: podmanGzip.length },
    { name: 'Podman, packed with zstd', archive: podmanZstd, within: podmanZstd.length },
  ])('($name) is summed up all the same, in bounded time and with known problems', async ({ archive, within }) => {
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const start = performance.now()
        const summary = await summarize(
          list.reduce<Buffer>((bytes, each) => mutate(bytes, each, within), Buffer.from(archive)),
        )
        expect(performance.now() - start).toBeLessThan(5000)
        expect(oddities(summary)).toEqual([])
      }),
      { numRuns: RUNS },
    )
  })

  it('is summed up all the same when its blocks change places', async () => {
    const blocks = splitTar(containerd).map((each) => each.blocks)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(blocks.length - 1), { maxLength: 60 }), fc.nat(2000), async (order, end) => {
        const bytes = Buffer.concat([...order.map((index) => blocks[index] ?? Buffer.alloc(0)), Buffer.alloc(end)])
        expect(oddities(await summarize(bytes))).toEqual([])
      }),
      { numRuns: RUNS },
    )
  })

  it('is summed up all the same when it is nothing but random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 4096 }),
        fc.constantFrom('', '1f8b08', '28b52ffd'),
        async (bytes, magic) => {
          expect(oddities(await summarize(Buffer.concat([Buffer.from(magic, 'hex'), bytes])))).toEqual([])
        },
      ),
      { numRuns: RUNS },
    )
  })
})

interface Change {
  readonly at: number
  readonly kind: string
  readonly other: number
  readonly length: number
  readonly byte: number
}

function mutate(bytes: Buffer, { at, kind, other, length, byte }: Change, within: number): Buffer {
  const limit = Math.max(1, Math.min(within, bytes.length))
  const start = at % limit
  const end = Math.min(bytes.length, start + length)
  switch (kind) {
    case 'flip':
      bytes[start] = (bytes[start] ?? 0) ^ (byte || 1)
      return bytes
    case 'zero':
      return bytes.fill(0, start, end)
    case 'fill':
      return bytes.fill(byte, start, end)
    case 'copy':
      bytes.copy(bytes, start, other % limit, (other % limit) + length)
      return bytes
    case 'drop':
      return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)])
    case 'insert':
      return Buffer.concat([bytes.subarray(0, start), Buffer.alloc(length, byte), bytes.subarray(start)])
    default:
      return bytes.subarray(0, start)
  }
}

/** What a summary must never say, whatever it was made of. */
function oddities({ state, problems }: ArchiveSummary): string[] {
  const weights = new Set(problems.map(({ weight }) => weight))
  const expected = weights.has('damage') ? 'damaged' : weights.has('cut') ? 'incomplete' : 'whole'
  return [
    ...(state === expected ? [] : [`${state} where its problems say ${expected}`]),
    ...problems.filter(({ code }) => !CODES.has(code)).map(({ code }) => `a problem that nobody knows: ${code}`),
    ...problems.filter(({ detail }) => detail.length > 1000).map(({ detail }) => `a long detail: ${detail}`),
  ]
}

function endsOf(members: ReturnType<typeof splitTar>): Map<string, number> {
  const ends = new Map<string, number>()
  let at = 0
  for (const { name, blocks } of members) {
    at += blocks.length
    ends.set(name, at)
  }
  return ends
}

function memoryBefore(members: ReturnType<typeof splitTar>, ends: ReadonlyMap<string, number>, size: number): number {
  return members
    .filter(({ name }) => name.startsWith('checkpoint/pages-') && (ends.get(name) ?? Infinity) <= size)
    .reduce((sum, { content }) => sum + content.length, 0)
}
