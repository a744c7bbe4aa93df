import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { list } from 'tar'
import { Header } from 'tar/header'
import { afterAll, describe, expect, it } from 'vitest'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { listMembers } from '../../src/archive/member-list.ts'
import { emptyHeader, hasValidChecksum, readHeader, readRawName } from '../../src/archive/tar-header.ts'
import type { TarMember } from '../../src/archive/tar-member.ts'
import { base256, GNU_MAGIC, paxMember, rawHeader, type RawHeader, rawMember } from '../support/raw-tar.ts'
import { tarOf } from './hostile/hostile-case.ts'
import { fixtureArchive, unpacked } from './real-archives.ts'

const folder = mkdtempSync(join(tmpdir(), 'tar-members-'))
afterAll(() => rmSync(folder, { recursive: true }))

const FIXTURES = ['containerd-2.1-counter', 'containerd-2.4-pod-counter', 'crio-1.36-counter', 'podman-5.8-none']

describe('listMembers', () => {
  it.each(FIXTURES)('finds in %s what the tar package finds', async (name) => {
    const bytes = unpacked(fixtureArchive(name))
    const path = join(folder, `${name}.tar`)
    writeFileSync(path, bytes)
    const expected: unknown[] = []
    list({
      file: path,
      sync: true,
      onReadEntry: (entry) =>
        expected.push({
          name: entry.path.replace(/\/$/, ''),
          type: entry.type === 'Directory' ? 'directory' : 'file',
          sizeBytes: entry.size,
          modifiedSeconds: (entry.mtime?.getTime() ?? 0) / 1000,
        }),
    })
    const { members } = await listMembers(bufferSource(bytes), { limit: 1000 })
    expect(
      members.map(({ name: path_, type, sizeBytes, modifiedSeconds }) => ({
        name: path_,
        type,
        sizeBytes,
        modifiedSeconds,
      })),
    ).toEqual(expected)
  })

  it.each([
    { name: 'a plain name', fields: { name: 'a/b' }, expected: { name: 'a/b' } },
    { name: './ in front', fields: { name: './config.dump' }, expected: { name: 'config.dump' } },
    { name: 'a slash behind', fields: { name: 'a/', type: '5' }, expected: { name: 'a', type: 'directory' } },
    { name: 'a folder without a slash', fields: { name: 'a', type: '5' }, expected: { name: 'a', type: 'directory' } },
    {
      name: 'a folder of the time before types',
      fields: { name: 'a/', type: '\0', magic: '' },
      expected: { name: 'a', type: 'directory' },
    },
    { name: 'a contiguous file', fields: { name: 'a', type: '7' }, expected: { type: 'file' } },
    { name: 'a name of a hundred bytes', fields: { name: 'n'.repeat(100) }, expected: { name: 'n'.repeat(100) } },
    { name: 'a prefix', fields: { name: 'file', prefix: 'long/way' }, expected: { name: 'long/way/file' } },
    {
      name: 'no prefix in the GNU dialect',
      fields: { name: 'file', prefix: 'x', magic: GNU_MAGIC },
      expected: { name: 'file' },
    },
    {
      name: 'a header of the time before ustar',
      fields: { name: 'file', magic: '', modified: 1000 },
      expected: { name: 'file', modifiedSeconds: 1000 },
    },
    {
      name: 'a size in spaces and octal',
      fields: { size: '         12 ', magic: GNU_MAGIC },
      content: 'ten bytes!',
      expected: { sizeBytes: 10 },
    },
    { name: 'a size in binary', fields: { size: base256(10n) }, content: 'ten bytes!', expected: { sizeBytes: 10 } },
    {
      name: 'a time in binary',
      fields: { modified: base256(1_795_190_466n) },
      expected: { modifiedSeconds: 1_795_190_466 },
    },
    {
      name: 'a check sum of signed bytes',
      fields: { name: Buffer.from('caf\u00e9'), checksum: 'signed' as const },
      expected: { name: 'caf\u00e9' },
    },
    { name: 'a name that is not ASCII', fields: { name: 'zu\u0308rich' }, expected: { name: 'zu\u0308rich' } },
    { name: 'a name that is not UTF-8', fields: { name: Buffer.from([0x61, 0xff]) }, expected: { name: 'a\\xff' } },
    { name: 'a dotfile', fields: { name: '.hidden' }, expected: { name: '.hidden' } },
    { name: 'two dots within a name', fields: { name: 'a..b/c..' }, expected: { name: 'a..b/c..' } },
  ] satisfies { name: string; fields: RawHeader; content?: string; expected: Partial<TarMember> }[])(
    'reads $name',
    async ({
      fields,
      content = '',
      expected,
    }: {
      fields: RawHeader
      content?: string
      expected: Partial<TarMember>
    }) => {
      const bytes = tarOf(rawMember({ size: content.length, ...fields }, content))
      const { members } = await listMembers(bufferSource(bytes), { limit: 10 })
      expect(members).toEqual([expect.objectContaining(expected)])
    },
  )

  it.each([
    { name: 'path', records: { path: 'a/long/name' }, expected: { name: 'a/long/name' } },
    { name: 'path of bytes', records: { path: Buffer.from([0x61, 0xff]) }, expected: { name: 'a\\xff' } },
    { name: 'size', records: { size: '3' }, content: 'abc', expected: { sizeBytes: 3 } },
    {
      name: 'mtime with nanoseconds',
      records: { mtime: '1795190466.810165955' },
      expected: { modifiedSeconds: 1_795_190_466, modifiedNanos: 810_165_955 },
    },
    {
      name: 'mtime before 1970',
      records: { mtime: '-1.25' },
      expected: { modifiedSeconds: -2, modifiedNanos: 750_000_000 },
    },
    {
      name: 'nothing that matters here',
      records: { uid: '4000000', atime: '1', comment: 'x=y\nz' },
      expected: { name: 'file' },
    },
    { name: 'an empty path, which means none', records: { path: '' }, expected: { name: 'file' } },
    {
      name: 'a binary attribute',
      records: { 'SCHILY.xattr.security.capability': Buffer.from([1, 0, 10, 10, 0]) },
      expected: { name: 'file' },
    },
  ])('follows a pax header that says $name', async ({ records, content = '', expected }) => {
    const size = 'size' in records ? 0 : content.length
    const bytes = tarOf(paxMember(records), rawMember({ name: 'file', size }, content), rawMember({ name: 'next' }))
    const { members, problems } = await listMembers(bufferSource(bytes), { limit: 10 })
    expect(problems.filter(({ weight }) => weight !== 'note')).toEqual([])
    // For one member, and no more.
    expect(members).toEqual([
      expect.objectContaining(expected),
      expect.objectContaining({ name: 'next', sizeBytes: 0, modifiedSeconds: 0 }),
    ])
  })

  it('follows GNU names', async () => {
    const name = 'd/'.repeat(200)
    const bytes = tarOf(
      rawMember({ name: '././@LongLink', type: 'L', magic: GNU_MAGIC }, `${name}file\0`),
      rawMember({ name: name.slice(0, 100), magic: GNU_MAGIC }),
      rawMember({ name: '././@LongLink', type: 'K', magic: GNU_MAGIC }, `${name}target\0`),
      rawMember({ name: 'link', type: '2', linkName: 'x', magic: GNU_MAGIC }),
    )
    const { members } = await listMembers(bufferSource(bytes), { limit: 10 })
    expect(members).toHaveLength(2)
    expect(members[0]?.name).toBe(`${name}file`)
    expect(members[1]).toMatchObject({
      name: 'link',
      type: 'symbolic-link',
      linkName: expect.stringMatching(/^(d\/){100}…$/),
    })
  })

  it('takes no notice of a comment for all members', async () => {
    const bytes = tarOf(paxMember({ comment: 'git archive' }, 'g'), rawMember({ name: 'a' }))
    expect(await listMembers(bufferSource(bytes), { limit: 10 })).toMatchObject({
      problems: [],
      members: [{ name: 'a' }],
    })
  })

  it.each(['gnu', 'pax', 'ustar', 'v7'])('reads what GNU tar writes as %s', async (format) => {
    const tree = mkdtempSync(join(folder, 'tree-'))
    const names = ['config.dump', 'n'.repeat(90), ...(format === 'v7' ? [] : ['sub'.repeat(32)])]
    for (const name of names) writeFileSync(join(tree, name), 'x'.repeat(700))
    const bytes = execFileSync('tar', ['-C', tree, `--format=${format}`, '-cf', '-', '.'])
    const { members, problems } = await listMembers(bufferSource(bytes), { limit: 10 })
    expect(problems).toEqual([])
    expect(new Set(members.map(({ name }) => name))).toEqual(new Set(['', ...names]))
    expect(members.filter(({ type }) => type === 'file').map(({ sizeBytes }) => sizeBytes)).toEqual(
      names.map(() => 700),
    )
  })

  it('stops when it is told to', async () => {
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(listMembers(bufferSource(tarOf(rawMember({}))), { limit: 1, signal })).resolves.toMatchObject({
      problems: [],
    })
    const large = Buffer.concat([rawMember({}, Buffer.alloc(3_000_000)), tarOf(rawMember({}))])
    await expect(listMembers(bufferSource(large), { limit: 1, signal })).rejects.toThrow('enough')
  })
})

describe('the plain form of a header', () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9._/-]{0,98}$/)

  it('is read as the tar package reads it', () => {
    fc.assert(
      fc.property(name, fc.nat(0o7777), fc.nat(), fc.nat(), (path, mode, size, seconds) => {
        const block = Buffer.from(Buffer.alloc(512))
        new Header({ path, mode, size, mtime: new Date(seconds * 1000), type: 'File', uid: 0, gid: 0 }).encode(block)
        const expected = new Header(block)
        const header = emptyHeader()
        expect(hasValidChecksum(block, words(block), 0)).toBe(true)
        readHeader(block, 0, header)
        expect({
          name: header.plainName ?? readRawName(block, 0).toString(),
          size: expected.type === 'Directory' ? 0 : header.sizeBytes,
          seconds: header.modifiedSeconds,
        }).toEqual({ name: expected.path, size: expected.size, seconds: (expected.mtime?.getTime() ?? 0) / 1000 })
      }),
      { numRuns: 500 },
    )
  })

  it('has the check sum that the tar package finds, whichever byte is changed', () => {
    const original = rawHeader({ name: 'checkpoint/pages-1.img', size: 4096, modified: 1_795_190_466 })
    fc.assert(
      fc.property(fc.nat(511), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const block = Buffer.alloc(512)
        original.copy(block)
        block[at] = byte
        const own = hasValidChecksum(block, words(block), 0)
        const theirs = isValidForPackage(block)
        // It refuses a block as a whole for a number in binary, and within the field takes `12junk` for a number.
        const isWithinField = at >= 148 && at < 156
        expect(theirs === undefined || own === theirs || (isWithinField && !own)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })
})

function words(block: Buffer): Uint32Array {
  return new Uint32Array(block.buffer, block.byteOffset, block.length / 4)
}

function isValidForPackage(block: Buffer): boolean | undefined {
  try {
    return new Header(block).cksumValid
  } catch {
    return undefined
  }
}
