import { constants, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { base256, rawHeader } from '../../support/raw-tar.ts'
import { honestArchive, type HostileCase, madeUpSource, withMember } from './hostile-case.ts'

const READ = { engine: 'containerd', claim: { pod: 'web-0' }, processCount: 2 }
const MIB = 1024 * 1024

const skippable = (content: Buffer, length = content.length) => {
  const head = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 0, 0, 0, 0])
  head.writeUInt32LE(length, 4)
  return Buffer.concat([head, content])
}

/** The header of a member of a terabyte, and zeros without end. */
const endless = () => rawHeader({ name: 'checkpoint/pages-1.img', size: base256(2n ** 40n) })

const flipped = (bytes: Buffer, at: number) => {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 0xff
  return copy
}

export const compressionCases: readonly HostileCase[] = [
  {
    name: 'xz',
    archive: () => Buffer.concat([Buffer.from('fd377a585a000004', 'hex'), Buffer.alloc(1000, 1)]),
    code: 'UnsupportedCompression',
    summary: { compression: 'xz' },
  },
  {
    name: 'bzip2',
    archive: () => Buffer.concat([Buffer.from('BZh91AY&SY'), Buffer.alloc(1000, 1)]),
    code: 'UnsupportedCompression',
    summary: { compression: 'bzip2' },
  },
  { name: 'gzip in gzip', archive: () => gzipSync(gzipSync(honestArchive())), code: 'NestedCompression' },
  { name: 'gzip in zstd', archive: () => zstdCompressSync(gzipSync(honestArchive())), code: 'NestedCompression' },
  { name: 'text in gzip', archive: () => gzipSync('hello'.repeat(1000)), code: 'NotATar' },
  { name: 'nothing in gzip', archive: () => gzipSync(''), code: 'Empty', state: 'incomplete' },
  {
    name: 'gzip cut off in the middle',
    archive: () => gzipSync(honestArchive()).subarray(0, 20_000),
    code: 'CompressedCutOff',
    state: 'incomplete',
  },
  {
    name: 'gzip cut off within its check sum',
    archive: () => gzipSync(honestArchive()).subarray(0, -3),
    code: 'CompressedCutOff',
    state: 'incomplete',
  },
  {
    name: 'gzip cut off within its header',
    archive: () => gzipSync(honestArchive()).subarray(0, 5),
    code: 'CompressedCutOff',
    state: 'incomplete',
  },
  {
    name: 'gzip whose header has a name without end',
    archive: () => Buffer.concat([Buffer.from('1f8b0808000000000003', 'hex'), Buffer.alloc(100_000, 'n')]),
    code: 'CompressedCutOff',
    state: 'incomplete',
  },
  {
    name: 'gzip with a method that nobody knows',
    archive: () => Buffer.concat([Buffer.from('1f8b0900000000000003', 'hex'), deflateRawSync(honestArchive())]),
    code: 'CompressedDamaged',
  },
  {
    name: 'gzip with a flipped byte',
    archive: () => flipped(gzipSync(honestArchive()), 3000),
    code: 'CompressedDamaged',
  },
  {
    name: 'gzip with a wrong check sum',
    archive: () => {
      const packed = gzipSync(honestArchive())
      return flipped(packed, packed.length - 6)
    },
    code: 'CompressedDamaged',
  },
  {
    name: 'gzip with a wrong length',
    archive: () => {
      const packed = gzipSync(honestArchive())
      return flipped(packed, packed.length - 2)
    },
    code: 'CompressedDamaged',
  },
  {
    name: 'gzip with garbage behind it',
    archive: () => Buffer.concat([gzipSync(honestArchive()), Buffer.from('garbage'.repeat(100))]),
    code: 'TrailingBytes',
    state: 'whole',
    summary: READ,
  },
  {
    name: 'zstd cut off in the middle',
    archive: () => zstdCompressSync(honestArchive()).subarray(0, 20_000),
    code: 'CompressedCutOff',
    state: 'incomplete',
  },
  {
    name: 'zstd cut off by three bytes',
    archive: () => zstdCompressSync(honestArchive()).subarray(0, -3),
    code: 'CompressedCutOff',
    state: 'incomplete',
  },
  {
    name: 'zstd cut off between two frames of which one is missing',
    archive: () => zstdCompressSync(honestArchive().subarray(0, 50_000)),
    code: 'CutOff',
    state: 'incomplete',
  },
  {
    name: 'zstd with a skippable frame that has no end',
    archive: () => Buffer.concat([skippable(Buffer.alloc(10), 0xffffffff), zstdCompressSync(honestArchive())]),
    code: 'CompressedCutOff',
    state: 'incomplete',
  },
  {
    name: 'zstd with a flipped byte and a check sum',
    archive: () => {
      const packed = zstdCompressSync(honestArchive(), { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
      return flipped(packed, packed.length - 2)
    },
    code: 'CompressedDamaged',
  },
  {
    name: 'zstd with garbage behind it',
    archive: () => Buffer.concat([zstdCompressSync(honestArchive()), Buffer.from('garbage'.repeat(100))]),
    code: 'TrailingBytes',
    state: 'whole',
    summary: READ,
  },
  {
    name: 'zstd with a window of a gigabyte',
    // Frame header: no content size, window descriptor of 2^30 bytes; then one raw block.
    archive: () => Buffer.concat([Buffer.from('28b52ffd00a0', 'hex'), Buffer.from('010000', 'hex'), Buffer.alloc(64)]),
    code: 'CompressionWindow',
  },
  {
    name: 'a zstd bomb: a terabyte of zeros in some frames',
    archive: () => {
      const zeros = zstdCompressSync(Buffer.alloc(16 * MIB))
      return Buffer.concat([zstdCompressSync(endless()), ...Array.from({ length: 100 }, () => zeros)])
    },
    code: 'CompressionBomb',
  },
  {
    name: 'a gzip bomb',
    archive: () => {
      const zeros = gzipSync(Buffer.alloc(16 * MIB), { level: 9 })
      return Buffer.concat([gzipSync(endless()), ...Array.from({ length: 100 }, () => zeros)])
    },
    code: 'CompressionBomb',
  },
  {
    name: 'a hundred thousand empty gzip members',
    archive: () => {
      const empty = gzipSync('')
      const all = Buffer.concat(Array.from({ length: 100_000 }, () => empty))
      return all
    },
    code: 'CompressionBomb',
  },
  {
    name: 'a million skippable frames',
    archive: () => {
      const block = Buffer.concat(Array.from({ length: 64 }, () => skippable(Buffer.alloc(0))))
      return madeUpSource(8_000_000, () => block)
    },
    code: 'CompressionBomb',
  },
  {
    name: 'a bomb in the diff of the root file system, which nobody unpacks',
    archive: () => withMember('rootfs-diff.tar', gzipSync(Buffer.alloc(64 * MIB), { level: 9 })),
    code: 'none',
    state: 'whole',
    summary: { ...READ, rootfsDiffBytes: gzipSync(Buffer.alloc(64 * MIB), { level: 9 }).length },
  },
]
