import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { readLines } from '../../src/api/byte-lines.ts'
import { capture, checkpoint, counter, job } from '../http/http-services.ts'
import { startClient } from './client-server.ts'

describe('the pages of a list', () => {
  it('are read one after the other, as far as the caller goes', async () => {
    const asked: (string | undefined)[] = []
    const jobs = ['c', 'b', 'a'].map((id) => job({ id }))
    const client = await startClient({
      captures: {
        namespaces: () => ['shop'],
        list: ({ limit, before }) => {
          asked.push(before)
          const rest = before === undefined ? jobs : jobs.slice(jobs.findIndex(({ id }) => id === before) + 1)
          return { jobs: rest.slice(0, limit), remaining: Math.max(0, rest.length - limit) }
        },
      },
    })
    const captures = await Array.fromAsync(client.allCaptures({ limit: 1 }))
    expect(captures.map(({ id }) => id)).toEqual(['c', 'b', 'a'])
    expect(asked).toEqual([undefined, 'c', 'b'])

    for await (const { id } of client.allCaptures({ limit: 1 })) if (id === 'c') break
    expect(asked.slice(3)).toEqual([undefined])
  })

  it('keep the filters and the sort of the first one', async () => {
    const asked: unknown[] = []
    const client = await startClient({
      checkpoints: {
        namespaces: () => ['shop'],
        list: ({ filter: { namespace, pinned }, order, after, limit }) => {
          asked.push({ namespace, pinned, key: order.key, after: after?.id, limit })
          const id = after === undefined ? 'a' : 'b'
          const next = after === undefined ? { value: 1, id: 'a' } : undefined
          return { items: [checkpoint({ id })], remaining: next === undefined ? 0 : 1, next }
        },
      },
    })
    const query = { namespace: 'shop', pinned: true, sort: 'sizeBytes', limit: 1 } as const
    const found = await Array.fromAsync(client.allCheckpoints(query))
    expect(found.map(({ id }) => id)).toEqual(['a', 'b'])
    const first = { namespace: 'shop', pinned: true, key: 'sizeBytes', limit: 1 }
    expect(asked).toEqual([
      { ...first, after: undefined },
      { ...first, after: 'a' },
    ])
  })

  it('of archives follow each other by position', async () => {
    const names = ['spec.dump', 'config.dump', 'checkpoint/core-1.img']
    const client = await startClient({
      checkpoints: {
        get: () => checkpoint(),
        members: async (_, { skip, limit }) => ({
          members: names.slice(skip, skip + limit).map((name) => {
            return { name, type: 'file', sizeBytes: 1, offset: 512, modifiedSeconds: 0, modifiedNanos: 0 }
          }),
          remaining: Math.max(0, names.length - skip - limit),
          problems: [],
        }),
      },
    })
    const members = await Array.fromAsync(client.allCheckpointMembers('x', { limit: 2 }))
    expect(members.map(({ name }) => name)).toEqual(names)
  })

  it('of the custody log follow each other by number', async () => {
    const client = await startClient({
      custody: {
        page: async ({ after, limit }) => {
          const entries = [1, 2, 3].filter((seq) => seq > after).slice(0, limit)
          const last = entries.at(-1)
          return { entries: entries.map(entryOf), next: last !== undefined && last < 3 ? last : undefined }
        },
      },
    })
    const entries = await Array.fromAsync(client.allCustodyEntries({ limit: 1 }))
    expect(entries.map(({ seq }) => seq)).toEqual([1, 2, 3])
  })

  it('throw what one of them throws', async () => {
    const client = await startClient({
      captures: {
        namespaces: () => ['shop'],
        list: ({ before }) => {
          if (before !== undefined) throw new Error('the disk is gone')
          return { jobs: [job({ captures: [capture({ identity: counter })] })], remaining: 1 }
        },
      },
    })
    const captures = client.allCaptures()
    expect(await captures.next()).toMatchObject({ done: false })
    await expect(captures.next()).rejects.toMatchObject({ status: 500, code: 'InternalError' })
  })
})

describe('custodyLines', () => {
  it('gives each line, with the entry that it is', async () => {
    const lines = [JSON.stringify(entryOf(1)), '{"torn', JSON.stringify(entryOf(2))]
    const client = await startClient({ custody: { export: () => Readable.from(lines.map((line) => `${line}\n`)) } })
    const read = await Array.fromAsync(client.custodyLines())
    expect(read.map(({ text }) => text)).toEqual(lines)
    expect(read.map(({ entry }) => entry?.seq)).toEqual([1, undefined, 2])
  })

  it('ends the request when its consumer stops', async () => {
    let isOpen = true
    const client = await startClient({
      custody: {
        export: () =>
          (async function* () {
            try {
              for (;;) yield Buffer.from(`${JSON.stringify(entryOf(1))}\n`)
            } finally {
              isOpen = false
            }
          })(),
      },
    })
    for await (const { entry } of client.custodyLines()) {
      expect([entry?.seq, isOpen]).toEqual([1, true])
      break
    }
    await expect.poll(() => isOpen).toBe(false)
  })

  it('fails where the log could not be read to its end', async () => {
    const client = await startClient({
      custody: {
        export: () =>
          (async function* () {
            yield Buffer.from(`${JSON.stringify(entryOf(1))}\n`)
            await new Promise((resolve) => setTimeout(resolve, 50))
            throw new Error('the disk is gone')
          })(),
      },
    })
    const lines = client.custodyLines()
    expect(await lines.next()).toMatchObject({ value: { entry: { seq: 1 } } })
    await expect(lines.next()).rejects.toThrow('terminated')
  })
})

describe('readLines', () => {
  it.each([
    [['a\nb\n'], ['a', 'b']],
    [
      ['a', '\n', 'b'],
      ['a', 'b'],
    ],
    [['\n\na'], ['', '', 'a']],
    [[], []],
  ])('splits %j', async (chunks, expected) => {
    expect(await Array.fromAsync(readLines(streamOf(chunks.map((chunk) => Buffer.from(chunk)))))).toEqual(expected)
  })

  it('splits bytes anywhere, also inside a character', async () => {
    const bytes = Buffer.from('grün\n日本\nend')
    for (let at = 0; at <= bytes.length; at += 1) {
      const lines = await Array.fromAsync(readLines(streamOf([bytes.subarray(0, at), bytes.subarray(at)])))
      expect(lines).toEqual(['grün', '日本', 'end'])
    }
  })

  it('refuses a line without an end', async () => {
    const endless = streamOf(Array.from({ length: 17 }, () => Buffer.alloc(1024 * 1024, 'x')))
    await expect(Array.fromAsync(readLines(endless))).rejects.toThrow(RangeError)
  })
})

async function* streamOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

function entryOf(seq: number) {
  return {
    seq,
    time: '2026-11-20T21:34:08.123Z',
    node: 'node-a',
    actor: { user: 'ada', groups: [] },
    action: 'capture',
    outcome: 'done',
    previous: '0'.repeat(64),
    hash: 'ab'.repeat(32),
  } as const
}
