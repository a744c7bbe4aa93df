import { createHash, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ApiClient } from '../../src/api/client.ts'
import { formatRange, readContentHeaders } from '../../src/api/content-answer.ts'
import { serveContent } from '../support/content-server.ts'
import { END_OF_TAR, rawMember } from '../support/raw-tar.ts'

const bytes = randomBytes(200_000)
const sha256 = createHash('sha256').update(bytes).digest('hex')

describe('getCheckpointArchive', () => {
  it('gives the bytes, and what one needs to trust and save them', async () => {
    const { client, id } = await serve()
    const { body, ...headers } = await client.getCheckpointArchive(id)
    expect((await collect(body)).equals(bytes)).toBe(true)
    expect(headers).toEqual({
      status: 200,
      etag: `"${sha256}"`,
      mediaType: 'application/x-tar',
      fileName: 'checkpoint-web-0_shop-counter-2026-01-31T12-00-00Z.tar',
      bodyBytes: bytes.length,
      range: undefined,
      archiveState: 'ready',
      archiveSha256: sha256,
    })
  })

  it('gives the headers alone, to plan a download', async () => {
    const { client, id, server } = await serve()
    const headers = await client.headCheckpointArchive(id)
    expect(headers).toMatchObject({ bodyBytes: bytes.length, archiveSha256: sha256, etag: `"${sha256}"` })
    expect(server.intents).toEqual([])
  })

  it.each([
    { name: 'a middle', range: { first: 10, last: 19 }, first: 10, end: 20 },
    { name: 'an end', range: { first: bytes.length - 5 }, first: bytes.length - 5, end: bytes.length },
    { name: 'the last bytes', range: { suffixBytes: 7 }, first: bytes.length - 7, end: bytes.length },
  ])('gives a range: $name', async ({ range, first, end }) => {
    const { client, id } = await serve()
    const { status, range: got, body, bodyBytes } = await client.getCheckpointArchive(id, { range })
    expect(status).toBe(206)
    expect(got).toEqual({ first, last: end - 1, totalBytes: bytes.length })
    expect(bodyBytes).toBe(end - first)
    expect((await collect(body)).equals(bytes.subarray(first, end))).toBe(true)
  })

  it('goes on where a download broke off, and begins again when the archive is another one', async () => {
    const { client, id } = await serve()
    const { etag } = await client.headCheckpointArchive(id)
    const range = { first: 1000 }
    const same = await client.getCheckpointArchive(id, { range, ifRange: etag })
    expect(same.status).toBe(206)
    expect((await collect(same.body)).equals(bytes.subarray(1000))).toBe(true)
    const other = await client.getCheckpointArchive(id, { range, ifRange: '"another"' })
    expect(other.status).toBe(200)
    expect(await collect(other.body)).toHaveLength(bytes.length)
  })

  it('gives nothing to those who have it, and refuses when it is another one', async () => {
    const { client, id } = await serve()
    expect(await client.getCheckpointArchive(id, { ifNoneMatch: `"${sha256}"` })).toBeUndefined()
    await expect(client.getCheckpointArchive(id, { ifMatch: '"another"' })).rejects.toMatchObject({
      status: 412,
      code: 'PreconditionFailed',
    })
    await expect(client.getCheckpointArchive(id, { range: { first: bytes.length } })).rejects.toMatchObject({
      status: 416,
      code: 'RangeNotSatisfiable',
    })
  })

  it.each(['gzip', 'zstd'])('takes %s off again', async (acceptEncoding) => {
    const { client, id } = await serve(Buffer.alloc(100_000, 'abc'))
    const { body, bodyBytes, etag } = await client.getCheckpointArchive(id, { acceptEncoding })
    expect(etag).toContain(`-${acceptEncoding}"`)
    expect(bodyBytes).toBeUndefined()
    expect((await collect(body)).equals(Buffer.alloc(100_000, 'abc'))).toBe(true)
  })

  it('encrypts to recipients', async () => {
    const { client, id } = await serve()
    const recipient = ['age1ym30tj9dkhmgvkmz2vq894j4uvfqfjkxcl7hhxlwswmutz4p4cpqkzw4qr']
    const { body, bodyBytes, etag, fileName } = await client.getCheckpointArchive(id, { recipient })
    expect((await collect(body)).toString('latin1', 0, 21)).toBe('age-encryption.org/v1')
    expect({ bodyBytes, weak: etag.startsWith('W/') }).toEqual({ bodyBytes: undefined, weak: true })
    expect(fileName).toMatch(/\.tar\.age$/)
  })

  it('fails when the archive changes on the way, and does not end as if it were whole', async () => {
    const { client, id, server } = await serve(randomBytes(64 * 1024 * 1024))
    const { body } = await client.getCheckpointArchive(id)
    writeFileSync(server.path, 'another one')
    await expect(collect(body)).rejects.toThrow('terminated')
  })

  it('leaves when its signal aborts', async () => {
    const { client, id, server } = await serve(randomBytes(64 * 1024 * 1024))
    const caller = new AbortController()
    const { body } = await client.getCheckpointArchive(id, { signal: caller.signal })
    caller.abort(new Error('enough'))
    await expect(collect(body)).rejects.toThrow('enough')
    await expect.poll(() => server.outcomes).toHaveLength(1)
  })
})

const tar = Buffer.concat([
  rawMember({ name: 'config.dump' }, '{"id":"x"}'),
  rawMember({ name: 'checkpoint/', type: '5' }),
  rawMember({ name: 'checkpoint/a b%20c?d#e' }, 'odd'),
  rawMember({ name: '../archive' }, 'harmless'),
  END_OF_TAR,
])

describe('getCheckpointMember', () => {
  it('gives a member, a part of it, and nothing to those who have it', async () => {
    const { client, id } = await serve(tar)
    const { body, etag, fileName } = await client.getCheckpointMember(id, 'config.dump')
    expect((await collect(body)).toString()).toBe('{"id":"x"}')
    expect(fileName).toBe('config.dump')
    const part = await client.getCheckpointMember(id, 'config.dump', { range: { first: 1, last: 4 } })
    expect((await collect(part.body)).toString()).toBe('"id"')
    expect(await client.getCheckpointMember(id, 'config.dump', { ifNoneMatch: etag })).toBeUndefined()
  })

  it.each([
    { name: 'checkpoint/a b%20c?d#e', content: 'odd' },
    { name: '../archive', content: 'harmless' },
  ])('finds $name, whatever a URL would make of it', async ({ name, content }) => {
    const { client, id } = await serve(tar)
    const { body } = await client.getCheckpointMember(id, name)
    expect((await collect(body)).toString()).toBe(content)
  })

  it('says that there is no such member', async () => {
    const { client, id } = await serve(tar)
    await expect(client.getCheckpointMember(id, '../../pin')).rejects.toMatchObject({ code: 'MemberNotFound' })
  })
})

describe('formatRange', () => {
  it.each([
    [{ first: 0 }, 'bytes=0-'],
    [{ first: 0, last: 0 }, 'bytes=0-0'],
    [{ suffixBytes: 10 }, 'bytes=-10'],
  ])('writes %j', (range, expected) => {
    expect(formatRange(range)).toBe(expected)
  })
})

describe('readContentHeaders', () => {
  it.each([
    ['attachment; filename="a-b.tar"', 'a-b.tar'],
    [`attachment; filename="_.tar"; filename*=UTF-8''gr%C3%B6%C3%9Fer.tar`, 'größer.tar'],
    [`attachment; filename="a.tar"; filename*=UTF-8''%E4%F6`, 'a.tar'],
    ['inline', undefined],
  ])('takes the name from %s', (disposition, fileName) => {
    const headers = { etag: '"x"', 'content-disposition': disposition }
    expect(readContentHeaders(new Response('', { headers })).fileName).toBe(fileName)
  })

  it('does not take the length of the compressed body for the length of the body that fetch gives', () => {
    const headers = { etag: '"x"', 'content-length': '10', 'content-encoding': 'gzip' }
    expect(readContentHeaders(new Response('', { headers })).bodyBytes).toBeUndefined()
  })

  it('refuses an answer without an entity tag', () => {
    expect(() => readContentHeaders(new Response(''))).toThrow('without the headers of content')
  })
})

async function serve(content: Uint8Array = bytes) {
  const server = await serveContent({ bytes: content })
  return { server, id: server.checkpoint.id, client: new ApiClient({ baseUrl: `http://127.0.0.1:${server.port}` }) }
}

async function collect(body: ReadableStream<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(body))
}
