import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { findTarEnd, type TarEnd } from '../../src/archive/tar-end.ts'
import { buildArchive } from '../support/archive-builder.ts'
import { member, tar, type TarMember } from '../support/tar-writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'tar-end-'))
afterAll(() => rmSync(folder, { recursive: true }))
const numRuns = process.env['SLOW'] === '1' ? 5_000 : 200

const BLOCK = 512
const END = Buffer.alloc(2 * BLOCK)
const MODIFIED = new Date('2026-06-12T10:00:00Z')
const file = (name: string, content: string | Uint8Array) =>
  member(name, content, { mode: 0o644, modifiedAt: MODIFIED })
const bytesOf = (members: readonly TarMember[]) => Buffer.concat([...tar(members).chunks()])
const small = bytesOf([file('config.dump', '{}'), file('checkpoint/', ''), file('pages-1.img', Buffer.alloc(1500, 1))])

let files = 0

async function endOf(bytes: Uint8Array): Promise<TarEnd> {
  const path = join(folder, `${++files}.tar`)
  writeFileSync(path, bytes)
  const end = await endOfFile(path)
  rmSync(path)
  return end
}

async function endOfFile(path: string): Promise<TarEnd> {
  await using handle = await open(path, 'r')
  return await findTarEnd(handle, (await handle.stat()).size)
}

describe('findTarEnd: whole archives', () => {
  it.each(['containerd', 'cri-o'] as const)('of %s, as built', async (engine) => {
    const archive = buildArchive({ engine })
    expect(await endOf(Buffer.concat([...archive.chunks()]))).toEqual({
      isWhole: true,
      members: archive.members.length,
    })
  })

  it.each([
    { name: 'a folder whose header claims a size', bytes: withField(small, 'config.dump', { type: '5', content: 0 }) },
    { name: 'zeros up to the record of 10 KiB', bytes: padded(small, 10_240) },
    { name: 'zeros, and no whole number of blocks', bytes: Buffer.concat([small, Buffer.alloc(100)]) },
    { name: 'a name of 200 bytes in a PAX record', bytes: bytesOf([file(`${'d/'.repeat(100)}f`, 'x')]) },
    { name: 'a name of 200 bytes as GNU writes it', bytes: gnuLongName('n'.repeat(200)) },
    { name: 'a file with no name', bytes: bytesOf([file('', 'x')]) },
    { name: 'a global PAX header', bytes: Buffer.concat([pax('g', '19 comment=a thing\n'), small]) },
    { name: 'a size in binary', bytes: Buffer.concat([header({ size: base256(700n) }), block(700), END]) },
    { name: 'a size with blanks', bytes: Buffer.concat([header({ size: '      1274 \0' }), block(700), END]) },
    {
      name: 'a PAX size beside an empty header field',
      bytes: Buffer.concat([paxSize(700), header({ size: '' }), block(700), END]),
    },
    {
      name: 'a PAX size in front of a GNU long name',
      bytes: Buffer.concat([paxSize(700), gnuNameMember('n'.repeat(120)), header({ size: '' }), block(700), END]),
    },
  ])('with $name', async ({ bytes }) => {
    expect(await endOf(bytes)).toMatchObject({ isWhole: true })
  })

  it.each([
    { name: 'in a PAX record', headers: paxSize(9 * 1024 ** 3), size: '00000000000\0' },
    { name: 'in binary', headers: Buffer.alloc(0), size: base256(9n * 1024n ** 3n) },
  ])('with a member of 9 GiB, its size $name', async ({ headers, size }) => {
    const path = join(folder, 'large.tar')
    const front = Buffer.concat([headers, header({ size })])
    writeFileSync(path, front)
    truncateSync(path, front.length + 9 * 1024 ** 3 + END.length)
    const begun = performance.now()
    expect(await endOfFile(path)).toMatchObject({ isWhole: true })
    expect(performance.now() - begun).toBeLessThan(10_000)
    truncateSync(path, front.length + 9 * 1024 ** 3 + BLOCK)
    expect(await endOfFile(path)).toMatchObject({ isWhole: false, reason: 'no end-of-tar marker' })
    truncateSync(path, front.length + 8 * 1024 ** 3)
    expect(await endOfFile(path)).toMatchObject({ isWhole: false, reason: 'cut off' })
    rmSync(path)
  })

  const real = join(import.meta.dirname, '../../../shared/archives')
  const present = existsSync(real) ? readdirSync(real).filter((name) => /(tar\.gz|none\.tar)$/.test(name)) : []
  if (present.length === 0)
    console.log('No real archives beside this folder (../shared/archives): only built ones are read')

  it.runIf(present.length > 0).each(present)('written by a real runtime: %s', async (name) => {
    const raw = readFileSync(join(real, name))
    const bytes = name.endsWith('.gz') ? gunzipSync(raw) : raw
    expect(await endOf(bytes)).toMatchObject({ isWhole: true })
    expect(await endOf(bytes.subarray(0, -1))).toMatchObject({ isWhole: false })
    expect(await endOf(bytes.subarray(0, bytes.length >> 1))).toMatchObject({ isWhole: false })
  })
})

describe('findTarEnd: archives that are not whole', () => {
  it.each([
    { name: 'nothing at all', bytes: Buffer.alloc(0), reason: 'empty' },
    { name: 'an end and no member', bytes: END, reason: 'empty' },
    { name: 'zeros, as a disk leaves them after a power cut', bytes: Buffer.alloc(64 * 1024), reason: 'empty' },
    { name: 'one block of zeros at its end', bytes: small.subarray(0, -BLOCK), reason: 'no end-of-tar marker' },
    { name: 'no end', bytes: small.subarray(0, -END.length), reason: 'no end-of-tar marker' },
    {
      name: 'a block between the two zero ones',
      bytes: Buffer.concat([small.subarray(0, -BLOCK), small]),
      reason: 'no end-of-tar marker',
    },
    { name: 'half a header', bytes: small.subarray(0, 100), reason: 'cut off' },
    { name: 'half a member', bytes: small.subarray(0, 700), reason: 'cut off' },
    {
      name: 'the tail of a longer, older file',
      bytes: Buffer.concat([small, Buffer.alloc(8192, 'stale')]),
      reason: 'bytes after the end-of-tar marker',
    },
    {
      name: 'the tail of an older file after a gap of zeros',
      bytes: Buffer.concat([small, Buffer.alloc(200_000), Buffer.from('stale')]),
      reason: 'bytes after the end-of-tar marker',
    },
    {
      name: 'megabytes of zeros behind it',
      bytes: padded(small, 4 * 1024 * 1024),
      reason: 'bytes after the end-of-tar marker',
    },
    { name: 'no tar', bytes: Buffer.alloc(4096, 'garbage'), reason: 'not a tar header' },
    { name: 'a flipped bit in a header', bytes: flipped(small, 3), reason: 'not a tar header' },
    {
      name: 'a size that is no number',
      bytes: Buffer.concat([header({ size: 'xyz' }), END]),
      reason: 'not a tar header',
    },
    {
      name: 'a negative size',
      bytes: Buffer.concat([header({ size: Buffer.alloc(12, 0xff) }), END]),
      reason: 'not a tar header',
    },
    {
      name: 'a size beyond any disk, whose low bits look small',
      bytes: Buffer.concat([header({ size: base256(2n ** 63n) }), END]),
      reason: 'not a tar header',
    },
    {
      name: 'a size beyond what a number holds',
      bytes: Buffer.concat([header({ size: base256(2n ** 60n) }), END]),
      reason: 'not a tar header',
    },
    {
      name: 'a PAX header of gigabytes',
      bytes: Buffer.concat([header({ size: '40000000000', type: 'x' }), END]),
      reason: 'not a tar header',
    },
    { name: 'a PAX header that is cut', bytes: header({ size: '2000', type: 'x' }), reason: 'cut off' },
    {
      name: 'a PAX size that is larger than the file',
      bytes: Buffer.concat([paxSize(10_000), header({ size: '' }), END]),
      reason: 'cut off',
    },
  ])('$name: $reason', async ({ bytes, reason }) => {
    expect(await endOf(bytes)).toMatchObject({ isWhole: false, reason })
  })

  it('is whole at no length but its own', async () => {
    const lengths = [...blocksOf(small), ...oddLengthsOf(small)]
    for (const length of lengths) {
      const end = await endOf(small.subarray(0, length))
      expect({ length, isWhole: end.isWhole }).toEqual({ length, isWhole: false })
    }
    expect(await endOf(small)).toMatchObject({ isWhole: true })
  })

  it.each(['containerd', 'cri-o'] as const)('is whole at no block of an archive of %s but the last', async (engine) => {
    const bytes = Buffer.concat([...buildArchive({ engine }).chunks()])
    const path = join(folder, `${engine}-cut.tar`)
    writeFileSync(path, bytes)
    await using handle = await open(path, 'r')
    for (const length of blocksOf(bytes).toReversed()) {
      truncateSync(path, length)
      expect({ length, ...(await findTarEnd(handle, length)) }).toMatchObject({ length, isWhole: false })
    }
  })
})

describe('findTarEnd: anything', () => {
  const mutations = fc.array(
    fc.record({ at: fc.nat(small.length - 1), byte: fc.nat(255), count: fc.integer({ min: 1, max: 64 }) }),
    { maxLength: 6 },
  )

  it('answers with whatever was done to a good archive', async () => {
    await fc.assert(
      fc.asyncProperty(mutations, fc.nat(small.length), async (changes, length) => {
        const bytes = Buffer.from(small)
        for (const { at, byte, count } of changes) bytes.fill(byte, at, Math.min(at + count, bytes.length))
        const begun = performance.now()
        const end = await endOf(bytes.subarray(0, length))
        expect(typeof end.isWhole).toBe('boolean')
        expect(end.isWhole ? 0 : end.offset).toBeLessThanOrEqual(length)
        expect(performance.now() - begun).toBeLessThan(10_000)
      }),
      { numRuns },
    )
  })

  it('answers with PAX records of any kind', async () => {
    const pieces = fc.constantFrom('18 ', 'size=', '9', '-', '\n', ' ', '30 size=12345678901234567890\n', '\0', 'ü')
    await fc.assert(
      fc.asyncProperty(fc.array(pieces, { maxLength: 20 }), async (parts) => {
        const end = await endOf(Buffer.concat([pax('x', parts.join('')), small]))
        expect(typeof end.isWhole).toBe('boolean')
      }),
      { numRuns },
    )
  })

  it('answers with random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async (bytes) => {
        expect((await endOf(bytes)).isWhole).toBe(false)
      }),
      { numRuns },
    )
  })

  it('walks thousands of empty members quickly', async () => {
    const one = header({ size: '0' })
    const begun = performance.now()
    expect(await endOf(Buffer.concat([...Array.from({ length: 5000 }, () => one), END]))).toEqual({
      isWhole: true,
      members: 5000,
    })
    expect(performance.now() - begun).toBeLessThan(10_000)
  })
})

function blocksOf(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length / BLOCK }, (_, index) => index * BLOCK)
}

function oddLengthsOf(bytes: Buffer): number[] {
  return blocksOf(bytes).flatMap((length) => [length + 1, length + 255, length + BLOCK - 1])
}

function padded(bytes: Buffer, record: number): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(record - (bytes.length % record))])
}

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ 1
  return changed
}

interface HeaderFields {
  /** Twelve bytes, or text. */
  readonly size: string | Buffer
  readonly type?: string
  readonly name?: string
}

function header({ size, type = '0', name = 'member' }: HeaderFields): Buffer {
  const bytes = Buffer.alloc(BLOCK)
  bytes.write(name, 0, 100, 'latin1')
  bytes.write('0000644\0', 100, 'latin1')
  if (typeof size === 'string') bytes.write(size.padStart(size === '' ? 0 : 11, '0'), 124, 'latin1')
  else size.copy(bytes, 124)
  bytes.write(type, 156, 'latin1')
  bytes.write('ustar\x0000', 257, 'latin1')
  return withChecksum(bytes)
}

function withChecksum(bytes: Buffer): Buffer {
  bytes.fill(' ', 148, 156)
  const sum = bytes.subarray(0, BLOCK).reduce((total, byte) => total + byte, 0)
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return bytes
}

/** Makes the first member one of another type; its content goes, the size in its header stays. */
function withField(bytes: Buffer, name: string, { type, content }: { type: string; content: number }): Buffer {
  const changed = Buffer.from(bytes)
  expect(changed.toString('latin1', 0, name.length)).toBe(name)
  changed.write(type, 156, 'latin1')
  withChecksum(changed.subarray(0, BLOCK))
  return Buffer.concat([changed.subarray(0, BLOCK + content), changed.subarray(2 * BLOCK)])
}

function base256(value: bigint): Buffer {
  const field = Buffer.alloc(12)
  field[0] = 0x80
  field.writeBigUInt64BE(value, 4)
  return field
}

function block(size: number): Buffer {
  return Buffer.alloc(Math.ceil(size / BLOCK) * BLOCK, 'content')
}

function pax(type: 'x' | 'g', records: string): Buffer {
  const body = Buffer.from(records)
  const filled = Buffer.concat([body, Buffer.alloc(Math.ceil(body.length / BLOCK) * BLOCK - body.length)])
  return Buffer.concat([header({ size: body.length.toString(8), type, name: 'PaxHeaders.0/x' }), filled])
}

function paxSize(size: number): Buffer {
  const rest = ` size=${size}\n`
  const length = [2, 3].map((digits) => digits + rest.length).find((total) => `${total}${rest}`.length === total)
  return pax('x', `${length}${rest}`)
}

function gnuNameMember(name: string): Buffer {
  const content = Buffer.alloc(BLOCK * Math.ceil((name.length + 1) / BLOCK))
  content.write(name, 'latin1')
  return Buffer.concat([header({ size: (name.length + 1).toString(8), type: 'L', name: '././@LongLink' }), content])
}

function gnuLongName(name: string): Buffer {
  return Buffer.concat([gnuNameMember(name), header({ size: '1000' }), block(512), END])
}
