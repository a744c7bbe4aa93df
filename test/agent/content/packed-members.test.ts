import { gzipSync } from 'node:zlib'
import { describe, expect, it, vi } from 'vitest'
import type { ArchiveReader } from '../../../src/agent/inspection/archive-reader.ts'
import { bufferSource, type ByteSource } from '../../../src/streams/byte-source.ts'
import { UnprocessableError } from '../../../src/shared/errors.ts'
import { buildArchive } from '../../support/archive-builder.ts'
import { serveContent } from '../../support/content-server.ts'
import { sendRequest } from '../../support/http-client.ts'

const packed = gzipSync(Buffer.concat([...buildArchive().chunks()]))
const content = Buffer.from('the unpacked bytes of a member')

/** Hands out the content for any member, and counts. */
function countingReader(source: Partial<ByteSource> = {}) {
  const counts = { opened: 0, closed: 0 }
  const reader: Partial<ArchiveReader> = {
    findMember: async () => ({
      compression: 'gzip',
      member: {
        name: 'config.dump',
        type: 'file',
        sizeBytes: content.length,
        offset: 512,
        modifiedSeconds: 0,
        modifiedNanos: 0,
      },
    }),
    openPackedMember: async () => {
      counts.opened += 1
      return {
        ...bufferSource(content),
        ...source,
        close: () => {
          counts.closed += 1
        },
      }
    },
  }
  return { counts, reader }
}

const get = async (server: Awaited<ReturnType<typeof serveContent>>, method = 'GET') =>
  await sendRequest({ port: server.port }, method, `/v1/checkpoints/${server.checkpoint.id}/members/config.dump`)

describe('a member of a packed archive', () => {
  it('is unpacked for who takes it, and let go at the end', async () => {
    const { counts, reader } = countingReader()
    const server = await serveContent({ bytes: packed, reader })
    expect(await get(server)).toMatchObject({ status: 200, text: content.toString() })
    expect(counts).toEqual({ opened: 1, closed: 1 })
  })

  it('is not unpacked for who asks for its size', async () => {
    const { counts, reader } = countingReader()
    const server = await serveContent({ bytes: packed, reader })
    const { status, headers } = await get(server, 'HEAD')
    expect({ status, length: headers['content-length'] }).toEqual({ status: 200, length: String(content.length) })
    expect(counts.opened).toBe(0)
  })

  it('that is too expensive to be unpacked is a problem that says so, before anything is promised', async () => {
    const { reader } = countingReader()
    const server = await serveContent({
      bytes: packed,
      reader: {
        ...reader,
        openPackedMember: async () => {
          throw new UnprocessableError('Cannot read the archive: it costs too much', { code: 'TooExpensive' })
        },
      },
    })
    const answer = await get(server)
    expect(answer.status).toBe(422)
    expect(answer.json()).toMatchObject({ code: 'TooExpensive' })
    expect(answer.headers).not.toHaveProperty('retry-after')
    expect(server.outcomes).toMatchObject([{ result: 'failed', sentBytes: 0 }])
  })

  it('is let go when reading it fails on the way', async () => {
    const { counts, reader } = countingReader({
      read: () => {
        throw new Error('the reader has ended')
      },
    })
    const server = await serveContent({ bytes: packed, reader })
    await expect(get(server)).rejects.toThrow(/aborted|hang up/)
    await vi.waitUntil(() => server.outcomes.length === 1, { timeout: 10_000, interval: 5 })
    expect(server.outcomes).toMatchObject([{ result: 'failed' }])
    expect(counts).toEqual({ opened: 1, closed: 1 })
  })
})
