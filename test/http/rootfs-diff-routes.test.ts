import type { ContentServices, RootfsDiffPage } from '../../src/http/content-services.ts'
import { describe, expect, it } from 'vitest'
import { buildArchive } from '../support/archive-builder.ts'
import { serveContent } from '../support/content-server.ts'
import { download } from '../support/download.ts'
import { call } from './api-call.ts'
import { checkpoint, type ServiceChanges } from './http-services.ts'

const ID = checkpoint().id
const PATH = `/v1/checkpoints/${ID}/rootfs-diff`
const found: RootfsDiffPage = {
  isThere: true,
  isComplete: false,
  remaining: 3,
  problems: [],
  changes: [
    { path: 'etc/shadow', change: 'deleted' },
    {
      path: 'etc/mtab',
      change: 'added-or-changed',
      entry: {
        name: 'etc/mtab',
        type: 'symbolic-link',
        sizeBytes: 0,
        offset: 512,
        modifiedSeconds: 1_795_210_448,
        modifiedNanos: 0,
        linkName: '/proc/mounts',
      },
    },
  ],
}

function services(asked: object[] = [], current = checkpoint()): ServiceChanges {
  const readRootfsDiff: ContentServices['readRootfsDiff'] = (_, { skip, limit, acceptsIncomplete }) => {
    asked.push({ skip, limit, acceptsIncomplete })
    return Promise.resolve(found)
  }
  return { checkpoints: { get: () => current }, contents: { readRootfsDiff } }
}

describe('GET …/rootfs-diff', () => {
  it('shows what has changed, and that there may be more', async () => {
    const { status, body } = await call(services(), `GET ${PATH}`)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      items: [
        { path: '/etc/shadow', change: 'deleted' },
        { path: '/etc/mtab', change: 'added-or-changed', type: 'symbolic-link', linkName: '/proc/mounts' },
      ],
      present: true,
      atLeast: true,
      remaining: 3,
    })
  })

  it('goes on where the page before ended', async () => {
    const asked: object[] = []
    const first = await call(services(asked), `GET ${PATH}?limit=2`)
    const { continue: next } = first.body as { continue: string }
    await call(services(asked), `GET ${PATH}?limit=2&incomplete=true&continue=${next}`)
    expect(asked).toEqual([
      { skip: 0, limit: 2, acceptsIncomplete: false },
      { skip: 2, limit: 2, acceptsIncomplete: true },
    ])
  })

  it('does not go on with another file', async () => {
    const first = await call(services(), `GET ${PATH}`)
    const { continue: next } = first.body as { continue: string }
    const answer = await call(services([], checkpoint({ generation: '9:9:9' })), `GET ${PATH}?continue=${next}`)
    expect(answer).toMatchObject({ status: 409, body: { code: 'CheckpointChanged' } })
  })

  it.each([
    { engine: 'containerd', atLeast: false },
    { engine: 'cri-o', atLeast: true },
  ] as const)('knows whose diff is complete: $engine', async ({ engine, atLeast }) => {
    const bytes = Buffer.concat([...buildArchive({ engine, changedFiles: new Map([['tmp/count', '2']]) }).chunks()])
    const server = await serveContent({ bytes })
    const { status, body } = await download(server.url('/rootfs-diff'))
    expect(status).toBe(200)
    expect(JSON.parse(body.toString())).toMatchObject({ present: true, atLeast, problems: [] })
    expect(body.toString()).toContain('"/tmp/count"')
    expect(server.intents).toMatchObject([{ what: 'rootfs-diff', recipients: [] }])
    expect(server.outcomes).toMatchObject([{ result: 'sent' }])
    // Nothing of it leaves.
    expect((await download(server.url('/rootfs-diff'), { method: 'HEAD' })).status).toBe(200)
    expect(server.intents).toHaveLength(1)
  })
})
