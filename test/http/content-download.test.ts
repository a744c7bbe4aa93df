import { createHash, randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { serveContent, withoutDigest } from '../support/content-server.ts'
import { download } from '../support/download.ts'
import { buildArchive } from '../support/archive-builder.ts'

const MIB = 1024 * 1024
const bytes = randomBytes(3 * MIB + 17)
const sha256 = createHash('sha256').update(bytes).digest('hex')
const numRuns = process.env['SLOW'] === '1' ? 2000 : 100

describe('GET …/archive', () => {
  it('gives the bytes of the file, and all that one needs to trust them', async () => {
    const server = await serveContent({ bytes })
    const { status, headers, body, isWhole } = await download(server.url('/archive'))
    expect(status).toBe(200)
    expect(isWhole).toBe(true)
    expect(body.equals(bytes)).toBe(true)
    expect(headers).toMatchObject({
      'content-type': 'application/x-tar',
      'content-length': String(bytes.length),
      'content-disposition': 'attachment; filename="checkpoint-web-0_shop-counter-2026-01-31T12-00-00Z.tar"',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'accept-ranges': 'bytes',
      etag: `"${sha256}"`,
      'repr-digest': `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`,
      'x-archive-sha256': sha256,
      'x-archive-state': 'ready',
      vary: 'Accept-Encoding',
    })
    expect(headers).not.toHaveProperty('transfer-encoding')
    expect(headers).not.toHaveProperty('content-encoding')
  })

  it.each([
    { name: 'plain', headers: {}, query: '' },
    { name: 'packed', headers: { 'Accept-Encoding': 'zstd' }, query: '' },
    {
      name: 'encrypted',
      headers: {},
      query: '?recipient=age1ym30tj9dkhmgvkmz2vq894j4uvfqfjkxcl7hhxlwswmutz4p4cpqkzw4qr',
    },
  ])('gives HEAD the same headers, and nothing else: $name', async ({ headers, query }) => {
    const server = await serveContent({ bytes })
    const got = await download(server.url(`/archive${query}`), { headers })
    const head = await download(server.url(`/archive${query}`), { method: 'HEAD', headers })
    const { 'transfer-encoding': _, ...same } = got.headers
    expect(head.headers).toEqual(same)
    expect(head.body).toHaveLength(0)
    expect(server.intents).toHaveLength(1)
  })

  it('gives an empty file', async () => {
    const server = await serveContent({ bytes: Buffer.alloc(0) })
    const { status, headers, body } = await download(server.url('/archive'))
    expect(status).toBe(200)
    expect(headers['content-length']).toBe('0')
    expect(body).toHaveLength(0)
  })

  it('gives any range, byte by byte', async () => {
    const server = await serveContent({ bytes })
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(bytes.length + 1000), async (first, length) => {
        const last = first + length
        const { status, headers, body } = await download(server.url('/archive'), {
          headers: { Range: `bytes=${first}-${last}` },
        })
        const end = Math.min(last + 1, bytes.length)
        expect(status).toBe(206)
        expect(headers['content-range']).toBe(`bytes ${first}-${end - 1}/${bytes.length}`)
        expect(headers['content-length']).toBe(String(end - first))
        expect(body.equals(bytes.subarray(first, end))).toBe(true)
      }),
      { numRuns },
    )
  })

  it('has the digest of the whole beside a part', async () => {
    const server = await serveContent({ bytes })
    const { headers } = await download(server.url('/archive'), { headers: { Range: 'bytes=-5' } })
    expect(headers['repr-digest']).toBe(`sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`)
  })

  it('says how many bytes there are where a range lies behind them', async () => {
    const server = await serveContent({ bytes })
    const { status, headers, body } = await download(server.url('/archive'), {
      headers: { Range: `bytes=${bytes.length}-` },
    })
    expect(status).toBe(416)
    expect(headers['content-range']).toBe(`bytes */${bytes.length}`)
    expect(JSON.parse(body.toString())).toMatchObject({ code: 'RangeNotSatisfiable' })
    expect(server.intents).toEqual([])
  })

  it('records what is given before it is given, and how it ended', async () => {
    const server = await serveContent({ bytes })
    await download(server.url('/archive'), { headers: { Range: 'bytes=10-19' } })
    expect(server.intents).toMatchObject([
      { what: 'archive', range: { first: 10, end: 20, sizeBytes: bytes.length }, recipients: [] },
    ])
    await expect.poll(() => server.outcomes).toMatchObject([{ result: 'sent', sentBytes: 10 }])
  })

  it('records what may have left of a piece that was not sent to its end', async () => {
    const server = await serveContent({ bytes })
    const actor = { user: 'alice', groups: [] }
    const { signal } = new AbortController()
    const request = { actor, acceptsIncomplete: false, signal, recipients: [] }
    const content = await server.contents.openArchive(server.checkpoint, request)
    const sink = {
      write: () => Promise.reject(new Error('EPIPE')),
      end: () => Promise.resolve(),
      close: () => undefined,
    }
    await expect(content.send({ first: 0, end: bytes.length, start: () => sink })).rejects.toThrow('EPIPE')
    await content.close()
    const [outcome] = server.outcomes
    expect(outcome?.result).toBe('failed')
    expect(outcome?.sentBytes).toBeGreaterThan(0)
  })

  it('records nothing where nothing is given: HEAD, 304, 416', async () => {
    const server = await serveContent({ bytes })
    const statuses = [
      await download(server.url('/archive'), { method: 'HEAD' }),
      await download(server.url('/archive'), { headers: { 'If-None-Match': `"${sha256}"` } }),
      await download(server.url('/archive'), { headers: { Range: `bytes=${bytes.length}-` } }),
    ].map(({ status }) => status)
    expect(statuses).toEqual([200, 304, 416])
    expect(server.intents).toEqual([])
  })

  it('gives nothing that cannot be recorded', async () => {
    const server = await serveContent({
      bytes,
      recorder: { begin: () => Promise.reject(new Error('the disk is full')) },
    })
    const { status, body } = await download(server.url('/archive'))
    expect(status).toBe(503)
    expect(JSON.parse(body.toString())).toMatchObject({ code: 'CustodyUnavailable' })
  })
})

describe('an archive that is not ready', () => {
  it('can be had while its digest is being made, and says that there is none', async () => {
    const server = await serveContent({ bytes })
    server.checkpoint = { ...withoutDigest(server.checkpoint), state: 'hashing' }
    const { status, headers, body } = await download(server.url('/archive'))
    expect(status).toBe(200)
    expect(body.equals(bytes)).toBe(true)
    expect(headers['x-archive-state']).toBe('hashing')
    expect(headers['etag']).toMatch(/^"[0-9a-f]{16}"$/)
    expect(headers).not.toHaveProperty('repr-digest')
    expect(headers).not.toHaveProperty('x-archive-sha256')
  })

  it('is resumed after the digest became known', async () => {
    const server = await serveContent({ bytes })
    const ready = server.checkpoint
    server.checkpoint = { ...withoutDigest(ready), state: 'hashing' }
    const { etag = '' } = (await download(server.url('/archive'), { method: 'HEAD' })).headers
    server.checkpoint = ready
    const headers = { Range: 'bytes=100-', 'If-Range': etag }
    expect((await download(server.url('/archive'), { headers })).status).toBe(206)
  })

  it.each(['incomplete', 'discovered'] as const)('is given only to who wants it all the same: %s', async (state) => {
    const server = await serveContent({ bytes, checkpoint: { state } })
    server.checkpoint = withoutDigest(server.checkpoint)
    const refused = await download(server.url('/archive'))
    expect(refused.status).toBe(409)
    expect(JSON.parse(refused.body.toString())).toMatchObject({
      code: 'ArchiveIncomplete',
      hint: expect.stringContaining('?incomplete=true') as string,
    })
    const given = await download(server.url('/archive?incomplete=true'))
    expect(given.body.equals(bytes)).toBe(true)
    expect(given.headers['x-archive-state']).toBe(state)
  })

  it('is given although it is damaged: it may be the evidence', async () => {
    const server = await serveContent({ bytes, checkpoint: { state: 'damaged' } })
    expect((await download(server.url('/archive'))).body.equals(bytes)).toBe(true)
  })
})

describe('conditions', () => {
  const tag = `"${sha256}"`
  it.each([
    { name: 'If-Match with the tag', headers: { 'If-Match': tag }, status: 200 },
    { name: 'If-Match with any', headers: { 'If-Match': '*' }, status: 200 },
    { name: 'If-Match with another', headers: { 'If-Match': '"other"' }, status: 412 },
    { name: 'If-Match with the tag as a weak one', headers: { 'If-Match': `W/${tag}` }, status: 412 },
    {
      name: 'If-Match with the plain tag, packed',
      headers: { 'If-Match': tag, 'Accept-Encoding': 'gzip' },
      status: 200,
    },
    { name: 'If-None-Match with the tag', headers: { 'If-None-Match': tag }, status: 304 },
    { name: 'If-None-Match with the tag as a weak one', headers: { 'If-None-Match': `"x", W/${tag}` }, status: 304 },
    { name: 'If-None-Match with another', headers: { 'If-None-Match': '"other"' }, status: 200 },
    {
      name: 'If-None-Match with the plain tag, packed',
      headers: { 'If-None-Match': tag, 'Accept-Encoding': 'gzip' },
      status: 200,
    },
    { name: 'If-Range with the tag', headers: { Range: 'bytes=0-9', 'If-Range': tag }, status: 206 },
    { name: 'If-Range with another', headers: { Range: 'bytes=0-9', 'If-Range': '"other"' }, status: 200 },
    { name: 'If-Range with a weak tag', headers: { Range: 'bytes=0-9', 'If-Range': `W/${tag}` }, status: 200 },
    {
      name: 'If-Range with a time',
      headers: { Range: 'bytes=0-9', 'If-Range': 'Sat, 31 Jan 2026 12:00:00 GMT' },
      status: 200,
    },
    {
      name: 'a range behind the end, of another file',
      headers: { Range: 'bytes=99999999-', 'If-Range': '"other"' },
      status: 200,
    },
    { name: 'If-Match before a range', headers: { Range: 'bytes=99999999-', 'If-Match': '"other"' }, status: 412 },
  ])('$name: $status', async ({ headers, status }) => {
    const server = await serveContent({ bytes })
    const answer = await download(server.url('/archive'), { headers })
    expect(answer.status).toBe(status)
    const isWholeAndPlain = answer.body.equals(bytes)
    expect(isWholeAndPlain).toBe(status === 200 && !('Accept-Encoding' in headers))
  })

  it('the answer to who has it already is empty, and has the tag', async () => {
    const server = await serveContent({ bytes })
    const { headers, body } = await download(server.url('/archive'), { headers: { 'If-None-Match': tag } })
    expect(headers).toMatchObject({ etag: tag, vary: 'Accept-Encoding', 'cache-control': 'no-store' })
    expect(body).toHaveLength(0)
  })

  it('the tag names the file: another one under the same name has another', async () => {
    const one = await serveContent({ bytes, checkpoint: { state: 'hashing' } })
    const other = await serveContent({ bytes, checkpoint: { state: 'hashing' } })
    for (const server of [one, other]) server.checkpoint = withoutDigest(server.checkpoint)
    const [first, second] = await Promise.all(
      [one, other].map((server) => download(server.url('/archive'), { method: 'HEAD' })),
    )
    expect(first?.headers['etag']).not.toBe(second?.headers['etag'])
  })
})

describe('requests that are wrong', () => {
  it.each([
    { query: '?what=1', name: 'what' },
    { query: '?incomplete=maybe', name: 'incomplete' },
    { query: '?incomplete=true&incomplete=true', name: 'incomplete' },
  ])('are refused, and what is wrong is named: $query', async ({ query, name }) => {
    const server = await serveContent({ bytes })
    const { status, body } = await download(server.url(`/archive${query}`))
    expect(status).toBe(400)
    expect(JSON.parse(body.toString())).toMatchObject({ problems: [{ in: 'query', name }] })
  })
})

describe('the name to save it under', () => {
  it.each([
    {
      fileName: 'checkpoint-a_b-c-2026-01-31T12:00:00+08:00.tar',
      shown: 'filename="checkpoint-a_b-c-2026-01-31T12-00-00+08-00.tar"',
    },
    { fileName: '-rf.tar', shown: 'filename="_rf.tar"' },
    { fileName: 'a"b.tar', shown: 'filename="a-b.tar"' },
    { fileName: 'grüße.tar', shown: `filename="gr--e.tar"; filename*=UTF-8''gr%C3%BC%C3%9Fe.tar` },
    { fileName: "it's (1).tar", shown: `filename="it-s--1-.tar"; filename*=UTF-8''it%27s-%281%29.tar` },
  ])('of $fileName is safe', async ({ fileName, shown }) => {
    const server = await serveContent({ bytes: bytes.subarray(0, 100), fileName })
    const { headers } = await download(server.url('/archive'))
    expect(headers['content-disposition']).toBe(`attachment; ${shown}`)
  })
})

describe('a packed archive', () => {
  it.each([
    { compression: 'gzip', type: 'application/gzip' },
    { compression: 'zstd', type: 'application/zstd' },
  ])('says what it is, and is not packed twice: $compression', async ({ compression, type }) => {
    const archive = Buffer.concat([...buildArchive().chunks()])
    const server = await serveContent({ bytes: archive })
    const { checkpoint } = server
    server.checkpoint = { ...checkpoint, summary: { ...checkpoint.summary, compression } }
    const { headers } = await download(server.url('/archive'), { headers: { 'Accept-Encoding': 'zstd' } })
    expect(headers['content-type']).toBe(type)
    expect(headers).not.toHaveProperty('content-encoding')
  })
})
