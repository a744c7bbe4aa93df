import { randomBytes } from 'node:crypto'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { listMembers } from '../../src/archive/member-list.ts'
import { fixtureArchive, unpacked } from '../archive/real-archives.ts'
import { decryptAge } from '../support/age-decryption.ts'
import { AGE_IDENTITIES } from '../support/age-program.ts'
import { serveContent } from '../support/content-server.ts'
import { download } from '../support/download.ts'
import { END_OF_TAR, paxMember, rawHeader, rawMember, splitTar } from '../support/raw-tar.ts'

const content = randomBytes(3_000_000)
const tar = Buffer.concat([
  rawMember({ name: 'first' }, 'one'),
  rawMember({ name: 'checkpoint/', type: '5' }),
  rawMember({ name: 'checkpoint/pages-1.img' }, content),
  rawMember({ name: 'empty' }, ''),
  rawMember({ name: './dotted' }, 'dotted'),
  rawMember({ name: 'twice' }, 'the first'),
  rawMember({ name: 'twice' }, 'the second'),
  rawMember({ name: 'link', type: '2', linkName: '/etc/passwd' }),
  rawMember({ name: 'hard', type: '1', linkName: 'first' }),
  rawMember({ name: Buffer.from('caf\xe9', 'latin1') }, 'not UTF-8'),
  rawMember({ name: 'a b%20c?d#e' }, 'odd'),
  rawMember({ name: String.raw`back\slash` }, 'slashed'),
  rawMember({ name: '../../etc/passwd' }, 'harmless'),
  paxMember({ path: `long/${'x'.repeat(300)}` }),
  rawMember({ name: 'long' }, 'long'),
  END_OF_TAR,
])

const packings = [
  { packing: 'plain', pack: (bytes: Buffer) => bytes },
  { packing: 'gzip', pack: (bytes: Buffer) => gzipSync(bytes) },
  { packing: 'zstd', pack: (bytes: Buffer) => zstdCompressSync(bytes) },
] as const

function path(name: string): string {
  return `/members/${name.split('/').map(encodeURIComponent).join('/')}`
}

describe.each(packings)('a member of a $packing archive', ({ pack }) => {
  const bytes = pack(tar)

  it('is given as it is', async () => {
    const server = await serveContent({ bytes })
    const { status, headers, body } = await download(server.url(path('checkpoint/pages-1.img')))
    expect(status).toBe(200)
    expect(body.equals(content)).toBe(true)
    expect(headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(content.length),
      'content-disposition': 'attachment; filename="pages-1.img"',
      'x-content-type-options': 'nosniff',
      'accept-ranges': 'bytes',
      'x-archive-sha256': server.checkpoint.sha256,
    })
    expect(headers).not.toHaveProperty('repr-digest')
    expect(server.intents).toMatchObject([{ what: 'member', member: 'checkpoint/pages-1.img' }])
  })

  it('is given in any range', async () => {
    const server = await serveContent({ bytes })
    await fc.assert(
      fc.asyncProperty(fc.nat(content.length - 1), fc.nat(content.length), async (first, length) => {
        const headers = { Range: `bytes=${first}-${first + length}` }
        const { status, body } = await download(server.url(path('checkpoint/pages-1.img')), { headers })
        expect(status).toBe(206)
        expect(body.equals(content.subarray(first, first + length + 1))).toBe(true)
      }),
      { numRuns: 20 },
    )
  })

  it.each([
    { name: 'first', holds: 'one' },
    { name: 'empty', holds: '' },
    { name: 'dotted', holds: 'dotted' },
    { name: 'twice', holds: 'the first' },
    { name: String.raw`caf\xe9`, holds: 'not UTF-8' },
    { name: 'a b%20c?d#e', holds: 'odd' },
    { name: String.raw`back\\slash`, holds: 'slashed' },
    { name: '../../etc/passwd', holds: 'harmless' },
    { name: `long/${'x'.repeat(300)}`, holds: 'long' },
  ])('is found by its name in the list: $name', async ({ name, holds }) => {
    const server = await serveContent({ bytes })
    const encoded = `/members/${encodeURIComponent(name).replaceAll('.', '%2E')}`
    const { status, body } = await download(server.url(encoded))
    expect(status).toBe(200)
    expect(body.toString()).toBe(holds)
  })

  it.each(['link', 'hard', 'checkpoint'])('that has no bytes is refused: %s', async (name) => {
    const server = await serveContent({ bytes })
    const { status, body } = await download(server.url(path(name)))
    expect(status).toBe(409)
    expect(JSON.parse(body.toString())).toMatchObject({ code: 'NotAFile' })
    expect(server.intents).toEqual([])
  })

  it.each(['nope', 'checkpoint/', '/etc/passwd', 'FIRST'])('that is not there is not found: %s', async (name) => {
    const server = await serveContent({ bytes })
    const { status, body } = await download(server.url(path(name)))
    expect(status).toBe(404)
    expect(JSON.parse(body.toString())).toMatchObject({ code: 'MemberNotFound' })
  })

  it('can be encrypted', async () => {
    const server = await serveContent({ bytes })
    const [ada] = AGE_IDENTITIES
    const { body } = await download(server.url(`${path('checkpoint/pages-1.img')}?recipient=${ada?.recipient ?? ''}`))
    expect(decryptAge(body, ada?.secret ?? '').equals(content)).toBe(true)
  })
})

describe('every member of a real archive', () => {
  it.each(['containerd-2.1-counter', 'crio-1.36-counter', 'podman-5.8-zstd', 'podman-5.8-gzip'])(
    'has the bytes that are in the archive: %s',
    async (name) => {
      const bytes = fixtureArchive(name)
      const server = await serveContent({ bytes })
      const plain = unpacked(bytes)
      const { members } = await listMembers(bufferSource(plain), { limit: 1000 })
      const files = members.filter(({ type }) => type === 'file')
      expect(files.length).toBeGreaterThan(10)
      expect(splitTar(plain).length).toBe(members.length)
      for (const { name: member, offset, sizeBytes } of files) {
        const { status, body } = await download(server.url(path(member)))
        const isSame = body.equals(plain.subarray(offset, offset + sizeBytes))
        expect({ member, status, isSame }).toEqual({ member, status: 200, isSame: true })
      }
    },
  )
})

describe('a hostile archive', () => {
  it('whose member claims more than there is gives nothing of it', async () => {
    const bytes = Buffer.concat([rawHeader({ name: 'big', size: 8 * 1024 ** 3 - 1 }), Buffer.alloc(1000)])
    const server = await serveContent({ bytes })
    expect((await download(server.url('/members/big'))).status).toBe(404)
  })

  it('whose packed data ends within a member ends the answer as an error', async () => {
    const whole = gzipSync(Buffer.concat([rawMember({ name: 'a' }, content), END_OF_TAR]))
    const server = await serveContent({ bytes: whole.subarray(0, whole.length / 2) })
    const { status, body, isWhole } = await download(server.url('/members/a'))
    expect(status).toBe(200)
    expect(isWhole).toBe(false)
    expect(content.subarray(0, body.length).equals(body)).toBe(true)
    await expect.poll(() => server.outcomes).toMatchObject([{ result: 'failed' }])
  })

  it('that unpacks without an end is not unpacked without an end', async () => {
    const zeros = gzipSync(Buffer.alloc(200 * 1024 * 1024))
    const server = await serveContent({ bytes: Buffer.concat([zeros, zeros, zeros]) })
    expect((await download(server.url('/members/x'))).status).toBe(404)
  })
})

it('is found in a place for looking into archives, and sent in one for streams', async () => {
  const inspection = { concurrency: 1, perUser: 1 }
  const server = await serveContent({ bytes: tar, limits: { concurrency: 1 }, inspection, times: { maxWaitMs: 300 } })
  const [user, present] = ['system:anonymous', new AbortController().signal]
  const looking = await server.admission.inspections.enter(user, present)
  for (const below of ['/rootfs-diff', '/members/nope']) {
    const { status, headers, body } = await download(server.url(below))
    expect(status).toBe(429)
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(5)
    expect(JSON.parse(body.toString())).toMatchObject({
      code: 'TooManyInspections',
      hint: expect.stringContaining('inspection.perUser') as string,
    })
  }
  expect((await download(server.url('/archive'))).status).toBe(200)
  looking.leave()
  expect((await download(server.url('/members/nope'))).status).toBe(404)
  // The bytes of a member are a stream like any other once it is found.
  const reading = await server.admission.streams.enter(user, present)
  expect((await download(server.url('/rootfs-diff'))).status).toBe(200)
  const member = await download(server.url('/members/first'))
  expect([member.status, JSON.parse(member.body.toString())]).toMatchObject([429, { code: 'TooManyDownloads' }])
  reading.leave()
  expect((await download(server.url('/members/first'))).status).toBe(200)
  const taken = () => [server.admission.streams.takenCount, server.admission.inspections.takenCount]
  await expect.poll(taken).toEqual([0, 0])
})
