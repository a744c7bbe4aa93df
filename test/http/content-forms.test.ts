import { createHash, randomBytes } from 'node:crypto'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { chooseCoding } from '../../src/http/content-negotiation.ts'
import { AGE_IDENTITIES } from '../support/age-program.ts'
import { decryptAge } from '../support/age-decryption.ts'
import { serveContent } from '../support/content-server.ts'
import { download } from '../support/download.ts'

const MIB = 1024 * 1024
/** Half of it can be packed. */
const bytes = Buffer.concat([randomBytes(2 * MIB + 5), Buffer.alloc(2 * MIB, 'x')])
const sha256 = createHash('sha256').update(bytes).digest('hex')
const [ada, bob, eve] = AGE_IDENTITIES as [
  (typeof AGE_IDENTITIES)[number],
  (typeof AGE_IDENTITIES)[number],
  (typeof AGE_IDENTITIES)[number],
]

describe('Accept-Encoding', () => {
  it.each([
    { coding: 'gzip', unpack: gunzipSync },
    { coding: 'zstd', unpack: zstdDecompressSync },
  ])('packs on the way: $coding', async ({ coding, unpack }) => {
    const server = await serveContent({ bytes })
    const { status, headers, body } = await download(server.url('/archive'), { headers: { 'Accept-Encoding': coding } })
    expect(status).toBe(200)
    expect(unpack(body).equals(bytes)).toBe(true)
    expect(body.length).toBeLessThan(bytes.length * 0.6)
    expect(headers).toMatchObject({
      'content-encoding': coding,
      etag: `"${sha256}-${coding}"`,
      vary: 'Accept-Encoding',
      'accept-ranges': 'none',
      'x-archive-sha256': sha256,
      'transfer-encoding': 'chunked',
    })
    for (const name of ['content-length', 'repr-digest', 'content-range']) expect(headers).not.toHaveProperty(name)
    expect(server.intents).toMatchObject([{ coding }])
  })

  it('packs an empty archive', async () => {
    const server = await serveContent({ bytes: Buffer.alloc(0) })
    const { body } = await download(server.url('/archive'), { headers: { 'Accept-Encoding': 'gzip' } })
    expect(gunzipSync(body)).toHaveLength(0)
  })

  it('gives way to a range', async () => {
    const server = await serveContent({ bytes })
    const headers = { 'Accept-Encoding': 'zstd', Range: 'bytes=0-9' }
    const answer = await download(server.url('/archive'), { headers })
    expect(answer.status).toBe(206)
    expect(answer.headers).not.toHaveProperty('content-encoding')
    expect(answer.body.equals(bytes.subarray(0, 10))).toBe(true)
  })

  it.each([
    [undefined, undefined],
    ['', undefined],
    ['gzip', 'gzip'],
    ['GZIP', 'gzip'],
    ['x-gzip', 'gzip'],
    ['gzip, deflate, br, zstd', 'zstd'],
    ['zstd;q=0.5, gzip', 'gzip'],
    ['zstd;q=0.5, gzip;q=0.5', 'zstd'],
    ['zstd;q=0, gzip', 'gzip'],
    ['gzip;q=0.5, identity', undefined],
    ['gzip, identity', 'gzip'],
    ['identity', undefined],
    ['br', undefined],
    ['*', undefined],
    ['gzip;q=2', undefined],
    ['gzip;q=x', undefined],
    ['gzip ; q=1.000 , *;q=0', 'gzip'],
  ])('%s chooses %s', (header, coding) => {
    expect(chooseCoding(header)).toBe(coding)
  })
})

describe('?recipient=', () => {
  it('encrypts to it', async () => {
    const server = await serveContent({ bytes })
    const { status, headers, body } = await download(server.url(`/archive?recipient=${ada.recipient}`), {
      headers: { 'Accept-Encoding': 'gzip', Range: 'bytes=0-9' },
    })
    expect(status).toBe(200)
    expect(decryptAge(body, ada.secret).equals(bytes)).toBe(true)
    expect(headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': expect.stringMatching(/\.tar\.age"$/) as string,
      'accept-ranges': 'none',
      'x-archive-sha256': sha256,
      etag: expect.stringMatching(new RegExp(`^W/"${sha256}-age-[0-9a-f]{16}"$`)) as string,
    })
    for (const name of ['content-length', 'repr-digest', 'content-encoding', 'content-range']) {
      expect(headers).not.toHaveProperty(name)
    }
    expect(server.intents).toMatchObject([{ recipients: [ada.recipient] }])
  })

  it('may be given more than once', async () => {
    const server = await serveContent({ bytes })
    const query = `?recipient=${ada.recipient}&recipient=${bob.recipient}&recipient=${ada.recipient}`
    const { body } = await download(server.url(`/archive${query}`))
    for (const { secret } of [ada, bob]) expect(decryptAge(body, secret).equals(bytes)).toBe(true)
    expect(() => decryptAge(body, eve.secret)).toThrow('no identity matched')
    expect(server.intents).toMatchObject([{ recipients: [ada.recipient, bob.recipient] }])
  })

  it('is refused where it is none, and which one is named', async () => {
    const server = await serveContent({ bytes })
    const { status, body } = await download(server.url(`/archive?recipient=${ada.recipient}&recipient=age1nonsense`))
    expect(status).toBe(400)
    expect(JSON.parse(body.toString())).toMatchObject({
      code: 'InvalidRecipient',
      detail: expect.stringContaining('"age1nonsense"') as string,
    })
    expect(server.intents).toEqual([])
  })
})

describe('content.requireEncryption', () => {
  const encryption = { isRequired: true, recipients: [ada.recipient, bob.recipient] }

  it.each(['/archive', '/members/config.dump', '/rootfs-diff'])('gives nothing plain: %s', async (below) => {
    const server = await serveContent({ bytes, encryption })
    const { status, body } = await download(server.url(below))
    expect(status).toBe(403)
    expect(JSON.parse(body.toString())).toMatchObject({
      code: 'EncryptionRequired',
      hint: expect.stringContaining(`recipient=${ada.recipient}&recipient=${bob.recipient}`) as string,
    })
    expect((await download(server.url(below), { method: 'HEAD' })).status).toBe(403)
    expect(server.intents).toEqual([])
  })

  it('gives to the fixed recipients, or to some of them', async () => {
    const server = await serveContent({ bytes, encryption })
    const { body } = await download(server.url(`/archive?recipient=${bob.recipient}`))
    expect(decryptAge(body, bob.secret).equals(bytes)).toBe(true)
    expect(() => decryptAge(body, ada.secret)).toThrow('no identity matched')
  })

  it('gives to nobody else, also not beside them', async () => {
    const server = await serveContent({ bytes, encryption })
    const { status, body } = await download(
      server.url(`/archive?recipient=${ada.recipient}&recipient=${eve.recipient}`),
    )
    expect(status).toBe(403)
    expect(JSON.parse(body.toString())).toMatchObject({
      code: 'RecipientNotAllowed',
      detail: expect.stringContaining(eve.recipient) as string,
    })
  })
})
