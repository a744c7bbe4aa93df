import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { findTarEnd } from '../../src/archive/tar-end.ts'
import { BLOCK, paxMember, rawHeader, rawMember } from '../support/raw-tar.ts'
import { honestArchive, honestMembers, tarOf } from './hostile/hostile-case.ts'

const folder = mkdtempSync(join(tmpdir(), 'tar-end-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function endOf(bytes: Uint8Array) {
  const path = join(folder, 'archive.tar')
  writeFileSync(path, bytes)
  await using file = await open(path)
  return await findTarEnd(file, bytes.length)
}

describe('findTarEnd', () => {
  it.each([
    { name: 'an archive of an engine', bytes: honestArchive(), members: honestMembers().length },
    {
      name: 'zeros up to a whole record',
      bytes: Buffer.concat([honestArchive(), Buffer.alloc(10_240)]),
      members: honestMembers().length,
    },
    { name: 'no member at all', bytes: Buffer.alloc(1024), members: 0 },
    {
      name: 'a strange member, which is not its business',
      bytes: tarOf(rawHeader({ name: '../x', type: '2' })),
      members: 1,
    },
  ])('finds $name whole', async ({ bytes, members }) => {
    expect(await endOf(bytes)).toEqual({ isWhole: true, members })
  })

  it.each([
    { name: 'nothing', bytes: Buffer.alloc(0), reason: 'empty', offset: 0 },
    { name: 'half a header', bytes: honestArchive().subarray(0, 100), reason: 'cut off', offset: 0 },
    {
      name: 'a cut within a member',
      bytes: tarOf(rawMember({}, 'text')).subarray(0, BLOCK + 2),
      reason: 'cut off',
      offset: BLOCK + 2,
    },
    { name: 'no end', bytes: rawMember({ name: 'a' }), reason: 'no end-of-tar marker', offset: BLOCK },
    {
      name: 'half an end',
      bytes: tarOf(rawMember({})).subarray(0, -512),
      reason: 'no end-of-tar marker',
      offset: BLOCK,
    },
    {
      name: 'the tail of an older file',
      bytes: Buffer.concat([tarOf(rawMember({})), Buffer.from('old memory')]),
      reason: 'bytes after the end-of-tar marker',
      offset: BLOCK + 1024,
    },
    { name: 'text', bytes: Buffer.alloc(2048, 'text'), reason: 'not a tar header', offset: 0 },
    {
      name: 'a compressed archive, which no runtime writes for us',
      bytes: gzipSync(honestArchive()),
      reason: 'not a tar header',
      offset: 0,
    },
    {
      name: 'an extended header that is none',
      bytes: tarOf(paxMember(Buffer.from('text')), rawMember({})),
      reason: 'not a tar header',
      offset: 0,
    },
  ])('finds $name not whole: $reason', async ({ bytes, reason, offset }) => {
    expect(await endOf(bytes)).toEqual({ isWhole: false, reason, offset })
  })
})
