import { gzipSync, zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { readRootfsDiff } from '../../src/archive/rootfs-diff.ts'
import { END_OF_TAR, paxMember, rawHeader, rawMember } from '../support/raw-tar.ts'
import { fixtureArchive } from './real-archives.ts'

const signal = new AbortController().signal

function read(bytes: Buffer, { skip = 0, limit = 1000 } = {}) {
  return readRootfsDiff(bufferSource(bytes), { skip, limit, signal })
}

function archive(diff: Buffer | undefined, deleted?: string | Buffer): Buffer {
  return Buffer.concat([
    rawMember({ name: 'config.dump' }, '{}'),
    ...(diff === undefined ? [] : [rawMember({ name: 'rootfs-diff.tar' }, diff)]),
    ...(deleted === undefined ? [] : [rawMember({ name: 'deleted.files' }, deleted)]),
    END_OF_TAR,
  ])
}

const layer = Buffer.concat([
  rawMember({ name: 'etc/', type: '5' }),
  rawMember({ name: 'etc/mtab', type: '2', linkName: '/proc/mounts' }),
  rawMember({ name: 'etc/.wh.shadow' }),
  rawMember({ name: 'srv/', type: '5' }),
  rawMember({ name: 'srv/.wh..wh..opq' }),
  rawMember({ name: 'srv/new' }, 'content'),
  rawMember({ name: '.wh.gone' }),
  rawMember({ name: 'dev/null', type: '3' }),
  END_OF_TAR,
])

async function shown(bytes: Buffer) {
  const { changes } = await read(bytes)
  return changes.map(({ path, change }) => `${change} ${path}`)
}

const CHANGES = [
  'added-or-changed etc',
  'added-or-changed etc/mtab',
  'deleted etc/shadow',
  'added-or-changed srv',
  'emptied srv',
  'added-or-changed srv/new',
  'deleted gone',
  'added-or-changed dev/null',
]

const inner = [
  { packedAs: 'plain', pack: (bytes: Buffer) => bytes },
  { packedAs: 'gzip', pack: (bytes: Buffer) => gzipSync(bytes) },
  { packedAs: 'zstd', pack: (bytes: Buffer) => zstdCompressSync(bytes) },
]

describe.each(inner)('a diff that is $packedAs', ({ pack }) => {
  it.each(inner)('is listed out of an archive that is $packedAs', async ({ pack: packArchive }) => {
    const { changes, isThere, isWhole, problems } = await read(packArchive(archive(pack(layer))))
    expect(changes.map(({ path, change }) => `${change} ${path}`)).toEqual(CHANGES)
    expect({ isThere, isWhole, problems }).toEqual({ isThere: true, isWhole: true, problems: [] })
    expect(changes[1]?.entry).toMatchObject({ type: 'symbolic-link', linkName: '/proc/mounts' })
    expect(changes[5]?.entry).toMatchObject({ type: 'file', sizeBytes: 7 })
    expect(changes[2]).not.toHaveProperty('entry')
  })

  it('is listed far into a large packed archive', async () => {
    const bytes = Buffer.concat([
      rawMember({ name: 'checkpoint/pages-1.img' }, Buffer.alloc(3_000_000, 'abc')),
      archive(pack(layer)),
    ])
    expect(await shown(zstdCompressSync(bytes))).toEqual(CHANGES)
  })
})

describe('deleted.files', () => {
  it('comes behind the diff', async () => {
    expect(await shown(archive(undefined, '["/etc/shadow","/srv/"]'))).toEqual(['deleted etc/shadow', 'deleted srv'])
  })

  it('makes a change of what is there again', async () => {
    expect(await shown(archive(layer, '["/srv/new","/other"]'))).toEqual([
      ...CHANGES.map((text) => (text.endsWith('srv/new') ? 'changed srv/new' : text)),
      'deleted other',
    ])
  })

  it.each([
    { name: 'no JSON', text: '[', code: 'JsonInvalid' },
    { name: 'an object', text: '{}', code: 'JsonFieldType' },
    { name: 'numbers', text: '["/a",1]', code: 'JsonFieldType' },
    { name: 'too large', text: `["${'x'.repeat(5 * 1024 * 1024)}"]`, code: 'JsonTooLarge' },
    { name: 'no UTF-8', text: Buffer.from('["\xff"]', 'latin1'), code: 'JsonNotUtf8' },
    { name: 'a path beyond all measure', text: `["${'x'.repeat(5000)}"]`, code: 'TextTooLong' },
  ])('that is $name is a problem, and the rest is listed', async ({ text, code }) => {
    const { changes, problems, isWhole } = await read(archive(layer, text))
    expect(changes).toHaveLength(CHANGES.length)
    expect(problems.map((problem) => problem.code)).toEqual([code])
    expect(isWhole).toBe(false)
  })

  it('is shown as text only, whatever is in it', async () => {
    expect(await shown(archive(undefined, String.raw`["/../../etc/passwd","/\u001b[2J"]`))).toEqual([
      'deleted ../../etc/passwd',
      String.raw`deleted \x1b[2J`,
    ])
  })
})

describe('pages', () => {
  it('put together are the whole', async () => {
    const bytes = archive(gzipSync(layer), '["/a","/b","/c"]')
    const all = await shown(bytes)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 12 }), async (limit) => {
        const paths: string[] = []
        for (let skip = 0; ; skip += limit) {
          const { changes, remaining } = await read(bytes, { skip, limit })
          paths.push(...changes.map(({ path, change }) => `${change} ${path}`))
          expect(remaining).toBe(all.length - paths.length)
          if (remaining === 0) break
        }
        expect(paths).toEqual(all)
      }),
      { numRuns: 20 },
    )
  })
})

describe('a diff that is not as it should be', () => {
  it.each([
    { name: 'cut', diff: layer.subarray(0, 3000), code: 'CutOff' },
    { name: 'cut while packed', diff: gzipSync(layer).subarray(0, 60), code: 'CompressedCutOff' },
    { name: 'no tar', diff: Buffer.from('x'.repeat(2000)), code: 'NotATar' },
    { name: 'empty', diff: Buffer.alloc(0), code: 'Empty' },
    { name: 'packed twice', diff: gzipSync(gzipSync(layer)), code: 'NestedCompression' },
    {
      name: 'packed with something else',
      diff: Buffer.from('fd377a585a000000', 'hex'),
      code: 'UnsupportedCompression',
    },
    {
      name: 'a bomb',
      diff: gzipSync(Buffer.concat([rawHeader({ name: 'x', size: 500_000_000 }), Buffer.alloc(500_000_000)])),
      code: 'CompressionBomb',
    },
  ])('says so: $name', async ({ diff, code }) => {
    const { isWhole, problems } = await read(archive(diff))
    expect(isWhole).toBe(false)
    expect(problems.map((problem) => problem.code)).toContain(code)
  })

  it('is nothing out of the ordinary when nothing was written', async () => {
    expect(await read(archive(gzipSync(END_OF_TAR)))).toMatchObject({
      isThere: true,
      isWhole: true,
      changes: [],
      problems: [],
    })
  })

  it('is missing where there is none', async () => {
    expect(await read(archive(undefined))).toMatchObject({ isThere: false, changes: [] })
  })

  it('never makes it fail', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), fc.nat(layer.length), async (noise, at) => {
        const diff = Buffer.from(layer)
        diff.set(noise.subarray(0, diff.length - at), at)
        expect((await read(archive(diff))).isThere).toBe(true)
        expect((await read(archive(gzipSync(diff).fill(noise[0] ?? 0, 40, 41)))).isThere).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  it('gives names of any bytes as text', async () => {
    const diff = Buffer.concat([
      paxMember({ path: Buffer.from('a/\xff', 'latin1') }),
      rawMember({ name: 'x' }, ''),
      END_OF_TAR,
    ])
    expect(await shown(archive(diff))).toEqual([String.raw`added-or-changed a/\xff`])
  })
})

describe('real archives', () => {
  it.each([
    {
      name: 'containerd-2.1-counter',
      paths: ['etc', 'etc/hostname', 'etc/hosts', 'etc/resolv.conf', 'tmp', 'tmp/count'],
    },
    { name: 'crio-1.36-counter', paths: ['etc/mtab', 'tmp/count'] },
  ])('show what the container wrote: $name', async ({ name, paths }) => {
    const { changes, isThere, isWhole } = await read(fixtureArchive(name))
    expect({ isThere, isWhole }).toEqual({ isThere: true, isWhole: true })
    expect(changes.map(({ path }) => path)).toEqual(expect.arrayContaining(paths))
  })

  it.each(['podman-5.8-none', 'podman-5.8-gzip', 'podman-5.8-zstd'])('however they are packed: %s', async (name) => {
    const { changes, isWhole } = await read(fixtureArchive(name))
    expect(isWhole).toBe(true)
    expect(changes.length).toBeGreaterThan(0)
  })
})
