import { constants, crc32, gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { detectCompression } from '../../src/archive/compression.ts'
import { decompressedSource } from '../../src/archive/decompression.ts'

/** Not compressible, so that the packed data has about the same size. */
const noise = Buffer.alloc(300_000)
for (let at = 0, state = 1; at < noise.length; at += 1) noise[at] = (state = (state * 48271) % 0x7fffffff) & 0xff

const skippable = (content: string) =>
  Buffer.concat([Buffer.from([0x50, 0x2a, 0x4d, 0x18, content.length, 0, 0, 0]), Buffer.from(content)])

/** A gzip member with optional fields in its header. */
function gzipWith(flags: number, fields: Uint8Array, content: Buffer): Buffer {
  const plain = gzipSync(content, { level: 0 })
  const head = Buffer.from(plain.subarray(0, 10))
  head[3] = flags
  return Buffer.concat([head, fields, plain.subarray(10)])
}

describe('decompressedSource', () => {
  it.each([
    { name: 'one gzip member', bytes: gzipSync(noise), kind: 'gzip' as const, expected: noise },
    {
      name: 'several gzip members',
      bytes: Buffer.concat([gzipSync('a'), gzipSync(''), gzipSync(noise), gzipSync('z')]),
      kind: 'gzip' as const,
      expected: Buffer.concat([Buffer.from('a'), noise, Buffer.from('z')]),
    },
    {
      name: 'a gzip header with a name, a comment, extra data and a check sum',
      bytes: gzipWith(
        0x1e,
        Buffer.concat([Buffer.from([3, 0, 1, 2, 3]), Buffer.from('name\0'), Buffer.from('comment\0'), Buffer.alloc(2)]),
        noise,
      ),
      kind: 'gzip' as const,
      expected: noise,
    },
    { name: 'one zstd frame', bytes: zstdCompressSync(noise), kind: 'zstd' as const, expected: noise },
    {
      name: 'several zstd frames with skippable ones between them',
      bytes: Buffer.concat([
        skippable('first'),
        zstdCompressSync('a'),
        skippable(''),
        zstdCompressSync(noise),
        skippable('last'),
      ]),
      kind: 'zstd' as const,
      expected: Buffer.concat([Buffer.from('a'), noise]),
    },
    {
      name: 'zstd with a window of 64 MiB',
      bytes: zstdCompressSync(noise, { params: { [constants.ZSTD_c_windowLog]: 26 } }),
      kind: 'zstd' as const,
      expected: noise,
    },
  ])('unpacks $name', async ({ bytes, kind, expected }) => {
    const source = decompressedSource(bufferSource(bytes), kind)
    expect((await readAll(source)).equals(expected)).toBe(true)
    expect({ size: source.sizeBytes, trailing: source.trailingBytes }).toEqual({ size: expected.length, trailing: 0 })
  })

  // The reader takes 64 KiB at a time; the seam between two members may fall anywhere near that.
  it.each(['gzip', 'zstd'] as const)('finds the next part of %s wherever the seam falls', async (kind) => {
    const pack = (content: Uint8Array) =>
      kind === 'gzip'
        ? gzipSync(content, { level: 0 })
        : zstdCompressSync(content, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
    for (let size = 65_536 - 60; size < 65_536 + 12; size += 1) {
      const first = noise.subarray(0, size)
      const bytes = Buffer.concat([pack(first), pack(noise)])
      const content = await readAll(decompressedSource(bufferSource(bytes), kind))
      expect({ size, length: content.length, crc: crc32(content) }).toEqual({
        size,
        length: size + noise.length,
        crc: crc32(Buffer.concat([first, noise])),
      })
    }
  })

  it('counts what follows the last member', async () => {
    const source = decompressedSource(bufferSource(Buffer.concat([gzipSync('a'), Buffer.from('garbage')])), 'gzip')
    expect((await readAll(source)).toString()).toBe('a')
    expect(source.trailingBytes).toBe(7)
  })

  it('passes over what nobody asks for', async () => {
    const source = decompressedSource(bufferSource(zstdCompressSync(noise)), 'zstd')
    const into = Buffer.alloc(100)
    expect(await source.read(into, 0, 100, 299_950)).toBe(50)
    expect(into.subarray(0, 50).equals(noise.subarray(299_950))).toBe(true)
    expect(await source.read(into, 0, 100, 300_000)).toBe(0)
    expect(await source.read(into, 0, 100, 999_999)).toBe(0)
  })
})

describe('detectCompression', () => {
  it.each([
    ['1f8b08', 'gzip'],
    ['28b52ffd', 'zstd'],
    ['502a4d18', 'zstd'],
    ['5f2a4d18', 'zstd'],
    ['fd377a585a00', 'xz'],
    ['425a68393141', 'bzip2'],
    ['425a68391772', 'bzip2'],
    ['425a68', 'none'],
    ['636f6e666967', 'none'],
    ['', 'none'],
  ])('takes %s for %s', (hex, expected) => {
    expect(detectCompression(Buffer.from(hex, 'hex'))).toBe(expected)
  })
})

async function readAll(source: ReturnType<typeof decompressedSource>): Promise<Buffer> {
  const parts: Buffer[] = []
  for (let position = 0; ;) {
    const part = Buffer.alloc(10_000)
    const bytesRead = await source.read(part, 0, part.length, position)
    if (bytesRead === 0) return Buffer.concat(parts)
    parts.push(part.subarray(0, bytesRead))
    position += bytesRead
  }
}
