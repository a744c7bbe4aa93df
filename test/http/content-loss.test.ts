import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  copyFileSync,
} from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { IncomingMessage } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import { serveContent, type ContentServer } from '../support/content-server.ts'
import { download, openDownload } from '../support/download.ts'

const MIB = 1024 * 1024
/** More than the buffers of both sides hold, which may be some forty megabytes. */
const bytes = randomBytes(100 * MIB)

const losses: readonly { readonly name: string; readonly lose: (path: string) => void }[] = [
  { name: 'removed', lose: (path) => rmSync(path) },
  {
    name: 'replaced',
    lose: (path) => {
      writeFileSync(`${path}.new`, bytes)
      renameSync(`${path}.new`, path)
    },
  },
  { name: 'cut', lose: (path) => truncateSync(path, bytes.length - 1) },
  { name: 'written to', lose: (path) => appendFileSync(path, 'x') },
  {
    name: 'rewritten in place with the same size',
    lose: (path) => {
      copyFileSync(path, `${path}.copy`)
      copyFileSync(`${path}.copy`, path)
      utimesSync(path, new Date(), new Date())
    },
  },
]

describe('a file that is lost during its download', () => {
  it.each(losses)('ends the answer as an error: $name', async ({ lose }) => {
    const server = await serveContent({ bytes })
    const answer = await openDownload(server.url('/archive'))
    const first = await answer.iterator({ destroyOnReturn: false }).next()
    expect(first.done).toBe(false)
    lose(server.path)
    const { length, isWhole } = await drain(answer)
    expect(isWhole).toBe(false)
    expect(length).toBeLessThan(bytes.length)
    await expect.poll(() => server.outcomes).toMatchObject([{ result: 'failed' }])
    await expect.poll(() => server.contents.readers.isInUse(server.checkpoint.id)).toBe(false)
  })

  it.each(losses)('ends a packed answer as an error: $name', async ({ lose }) => {
    const server = await serveContent({ bytes })
    const answer = await openDownload(server.url('/archive'), { headers: { 'Accept-Encoding': 'gzip' } })
    await answer.iterator({ destroyOnReturn: false }).next()
    lose(server.path)
    expect((await drain(answer)).isWhole).toBe(false)
  })

  it.each([
    { name: 'plain', flags: [] },
    { name: 'packed', flags: ['--compressed'] },
    {
      name: 'encrypted',
      flags: [],
      query: '?recipient=age1ym30tj9dkhmgvkmz2vq894j4uvfqfjkxcl7hhxlwswmutz4p4cpqkzw4qr',
    },
  ])('is what curl calls a partial file: $name', async ({ flags, query = '' }) => {
    const server = await serveContent({ bytes })
    const curl = runCurl([...flags, '--limit-rate', '20M', server.url(`/archive${query}`)])
    await expect.poll(() => server.intents.length).toBe(1)
    await sleep(200)
    rmSync(server.path)
    expect(await curl).toBe(18)
  })

  it('is a conflict where nothing was sent yet', async () => {
    const server = await serveContent({ bytes })
    writeFileSync(`${server.path}.new`, bytes)
    renameSync(`${server.path}.new`, server.path)
    const { status, body } = await download(server.url('/archive'))
    expect(status).toBe(409)
    expect(JSON.parse(body.toString())).toMatchObject({ code: 'CheckpointChanged' })
  })

  it('is given as far as it goes while it is written, to who wants it', async () => {
    const server = await serveContent({ bytes, checkpoint: { state: 'incomplete' } })
    appendFileSync(server.path, randomBytes(10))
    const answer = await openDownload(server.url('/archive?incomplete=true'))
    await answer.iterator({ destroyOnReturn: false }).next()
    appendFileSync(server.path, randomBytes(10))
    const { isWhole } = await drain(answer)
    expect(isWhole).toBe(true)
    expect(answer.headers['content-length']).toBe(String(bytes.length + 10))
  })
})

describe('readers that leave', () => {
  it('leave nothing behind, a thousand of them', async () => {
    const server = await serveContent({ bytes, limits: { concurrency: 1000, perUser: 1000 } })
    await abort(server, 50)
    const descriptors = openDescriptors()
    const before = settledMemory()
    for (let round = 0; round < 20; round += 1) await abort(server, 50)
    await expect.poll(() => server.contents.readers.isInUse(server.checkpoint.id), { timeout: 20_000 }).toBe(false)
    await expect.poll(openDescriptors, { timeout: 20_000 }).toBeLessThanOrEqual(descriptors + 2)
    await expect.poll(() => server.outcomes.length).toBe(server.intents.length)
    expect(new Set(server.outcomes.map(({ result }) => result))).toEqual(new Set(['left']))
    expect(settledMemory() - before).toBeLessThan(64 * MIB)
  }, 120_000)

  it.each([
    { name: 'packed', headers: 'Accept-Encoding: gzip\r\n', query: '' },
    {
      name: 'encrypted',
      headers: '',
      query: '?recipient=age1ym30tj9dkhmgvkmz2vq894j4uvfqfjkxcl7hhxlwswmutz4p4cpqkzw4qr',
    },
  ])(
    'leave nothing behind in the middle of an answer: $name',
    async ({ headers, query }) => {
      const server = await serveContent({ bytes, limits: { concurrency: 100, perUser: 100 } })
      const descriptors = openDescriptors()
      await abort(server, 40, { headers, query })
      await expect.poll(() => server.contents.readers.isInUse(server.checkpoint.id), { timeout: 20_000 }).toBe(false)
      await expect.poll(openDescriptors, { timeout: 20_000 }).toBeLessThanOrEqual(descriptors + 2)
    },
    60_000,
  )
})

describe('slow readers', () => {
  // test/e2e/readers.test.ts has two hundred.
  it('cost little, fifty of them, and leave room for a fast one', async () => {
    const server = await serveContent({ bytes, limits: { concurrency: 51, perUser: 51 } })
    const before = settledMemory()
    const sockets = await Promise.all(Array.from({ length: 50 }, () => openReader(server, {})))
    onTestFinished(() => sockets.forEach((socket) => socket.destroy()))
    await expect.poll(() => server.intents.length, { timeout: 20_000 }).toBe(50)
    // A kibibyte a second each.
    const dripping = setInterval(() => sockets.forEach((socket) => socket.read(1024)), 1000)
    onTestFinished(() => clearInterval(dripping))
    await sleep(3000)
    expect(settledMemory() - before).toBeLessThan(50 * MIB)
    expect((await download(server.url('/archive'))).body.equals(bytes)).toBe(true)
  }, 60_000)
})

describe('limits', () => {
  it('are for all together', async () => {
    const server = await serveContent({ bytes, limits: { concurrency: 2 }, times: { maxWaitMs: 300 } })
    const open = [await openDownload(server.url('/archive')), await openDownload(server.url('/archive'))]
    onTestFinished(() => open.forEach((answer) => answer.destroy()))
    const { status, headers, body } = await download(server.url('/archive'))
    expect(status).toBe(429)
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(10)
    expect(JSON.parse(body.toString())).toMatchObject({
      code: 'TooManyDownloads',
      hint: expect.stringContaining('content.concurrency') as string,
    })
    open.forEach((answer) => answer.destroy())
    await expect.poll(async () => (await download(server.url('/archive'), { method: 'HEAD' })).status).toBe(200)
  })

  it('are for each user', async () => {
    const server = await serveContent({ bytes, limits: { concurrency: 2, perUser: 1 }, times: { maxWaitMs: 300 } })
    const open = await openDownload(server.url('/archive'))
    onTestFinished(() => void open.destroy())
    const { status, body } = await download(server.url('/archive'))
    expect(status).toBe(429)
    expect(JSON.parse(body.toString())).toMatchObject({ hint: expect.stringContaining('content.perUser') as string })
  })

  it('let who hangs up out of the line', async () => {
    const server = await serveContent({ bytes, limits: { concurrency: 1 } })
    const open = await openDownload(server.url('/archive'))
    onTestFinished(() => void open.destroy())
    for (let round = 0; round < 4; round += 1) {
      const waiting = await Promise.all(Array.from({ length: 8 }, () => openReader(server, {})))
      await expect.poll(() => server.admission.streams.waitingCount).toBe(8)
      waiting.forEach((socket) => socket.destroy())
      await expect.poll(() => server.admission.streams.waitingCount).toBe(0)
    }
    open.destroy()
    await expect.poll(() => server.admission.streams.takenCount).toBe(0)
    expect(server.intents).toHaveLength(1)
  })

  it('make a slow reader give way to who has no place, and it goes on where it ended', async () => {
    const large = Buffer.concat([bytes, randomBytes(48 * MIB)])
    const server = await serveContent({
      bytes: large,
      limits: { concurrency: 1 },
      times: { windowMs: 500, lookMs: 50 },
    })
    const slow = await openDownload(server.url('/archive'))
    const chunks: Buffer[] = []
    const ended = new Promise((resolve) => slow.once('close', resolve))
    slow.on('error', () => undefined)
    await sleep(1000)
    // Somebody else, who has none: as another user, since here all are the same.
    const place = await server.admission.streams.enter('ada', new AbortController().signal)
    slow.on('data', (chunk: Buffer) => chunks.push(chunk))
    await ended
    const first = Buffer.concat(chunks)
    expect(slow.complete).toBe(false)
    expect(first.length).toBeGreaterThan(0)
    expect(first.length).toBeLessThan(large.length)
    expect(server.outcomes).toMatchObject([
      { result: 'failed', error: expect.stringContaining('less than 64 KiB a second') as string },
    ])
    place.leave()
    const headers = { Range: `bytes=${String(first.length)}-`, 'If-Range': slow.headers['etag'] ?? '' }
    const rest = await download(server.url('/archive'), { headers })
    expect(rest.status).toBe(206)
    expect(Buffer.concat([first, rest.body]).equals(large)).toBe(true)
  }, 30_000)

  it('give the place back whatever the answer was', async () => {
    const server = await serveContent({ bytes, limits: { concurrency: 1 } })
    const tag = (await download(server.url('/archive'), { method: 'HEAD' })).headers['etag'] ?? ''
    const asked: Readonly<Record<string, string>>[] = [
      { 'If-None-Match': tag },
      { 'If-Match': '"other"' },
      { Range: 'bytes=999999999-' },
    ]
    const statuses = []
    for (const headers of [...asked, ...asked])
      statuses.push((await download(server.url('/archive'), { headers })).status)
    expect(statuses).toEqual([304, 412, 416, 304, 412, 416])
    expect((await download(server.url('/members/nope'))).status).toBe(404)
    expect((await download(server.url('/archive'))).status).toBe(200)
  })

  it('a reader protects its archive from removal, for a while', async () => {
    const server = await serveContent({ bytes, limits: { maxHoldMs: 400 } })
    const { readers } = server.contents
    const open = await openDownload(server.url('/archive'))
    onTestFinished(() => void open.destroy())
    expect(readers.isInUse(server.checkpoint.id)).toBe(true)
    expect(readers.isInUse('another')).toBe(false)
    await expect.poll(() => readers.isInUse(server.checkpoint.id)).toBe(false)
  })
})

async function drain(answer: IncomingMessage): Promise<{ readonly length: number; readonly isWhole: boolean }> {
  let length = 0
  try {
    for await (const chunk of answer) length += (chunk as Buffer).length
  } catch {
    return { length, isWhole: false }
  }
  return { length, isWhole: answer.complete }
}

/** Gives the exit code. */
function runCurl(args: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    execFile('curl', ['-sS', '-o', '/dev/null', ...args], (error) => resolve(Number(error?.code ?? 0)))
  })
}

interface ReaderOptions {
  readonly headers?: string
  readonly query?: string
}

/** A connection that has asked for the archive, and reads nothing by itself. */
function openReader(server: ContentServer, { headers = '', query = '' }: ReaderOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: server.port, host: '127.0.0.1' }, () => {
      const path = new URL(server.url(`/archive${query}`)).pathname + query
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`)
      resolve(socket)
    })
    socket.once('error', reject)
    socket.on('error', () => undefined)
    socket.pause()
  })
}

/** Readers that go away after their first bytes, in the middle, or before anything came. */
async function abort(server: ContentServer, count: number, options: ReaderOptions = {}): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const socket = await openReader(server, options)
      if (index % 3 > 0) await new Promise<void>((resolve) => socket.once('readable', resolve))
      if (index % 3 === 2) socket.read(64 * 1024)
      socket.destroy()
    }),
  )
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

/** What is still in use, buffers included. */
function settledMemory(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
