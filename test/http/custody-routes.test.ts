import type { CustodyReport } from '../../src/custody/custody-verify.ts'
import type { CustodyEntry } from '../../src/custody/custody-entry.ts'
import { describe, expect, it } from 'vitest'
import type { HttpServices } from '../../src/http/services.ts'
import { ConflictError } from '../../src/shared/errors.ts'
import { call } from './api-call.ts'
import { checkpoint } from './http-services.ts'

const HASH = 'ab'.repeat(32)
const entry: CustodyEntry = {
  seq: 7,
  time: '2026-11-20T21:34:08.123Z',
  node: 'node-a',
  actor: { user: 'alice', groups: ['responders'], address: '10.0.0.7', requestId: 'r-1' },
  action: 'content',
  checkpoint: { id: '9f2c4e5a7b1d3c60', fileName: 'checkpoint-a.tar', sizeBytes: 1024, sha256: HASH },
  detail: { range: '0-1023' },
  outcome: 'intended',
  previous: HASH,
  hash: HASH,
}
const authentic: CustodyReport = {
  verdict: 'authentic',
  notChecked: [],
  problems: [],
  problemCount: 0,
  files: 1,
  entries: 7,
  first: { seq: 1, hash: HASH },
  last: { seq: 7, hash: HASH },
  head: { seq: 7, hash: HASH },
  authenticatedSeq: 7,
  keyId: HASH,
  foundKeyId: undefined,
}

async function* twoLines() {
  yield Buffer.from('{"seq":4}\n')
  yield Buffer.from('{"seq":5}\n')
}

async function* failingLines() {
  yield Buffer.from('{"seq":4}\n')
  throw new Error('EIO')
}

function noDigest(): never {
  throw new ConflictError('Cannot make a manifest', { code: 'DigestUnknown' })
}

describe('GET /v1/custody', () => {
  it('shows entries as they are, and where the next page begins', async () => {
    const asked: unknown[] = []
    const page: HttpServices['custody']['page'] = async ({ after, limit, checkpointId }) => {
      asked.push({ after, limit, checkpointId })
      return { entries: [entry], next: 7 }
    }
    const answer = await call({ custody: { page } }, 'GET /v1/custody?checkpoint=9f2c4e5a7b1d3c60&after=6&limit=1')
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({ items: [entry], continue: '7' })
    expect(asked).toEqual([{ after: 6, limit: 1, checkpointId: '9f2c4e5a7b1d3c60' }])
  })

  it.each(['after=-1', 'after=x', 'limit=0', 'limit=1001', 'checkpoint=', 'before=3'])('refuses %s', async (query) => {
    expect((await call({}, `GET /v1/custody?${query}`)).status).toBe(400)
  })
})

describe('GET /v1/custody/verify', () => {
  it('says what was found', async () => {
    const answer = await call({ custody: { verify: async () => authentic } }, 'GET /v1/custody/verify')
    expect(answer.body).toEqual({ ...authentic, sound: true })
  })

  it.each(['not-authenticated', 'broken'] as const)('says sound only of what is authentic: %s', async (verdict) => {
    const verify = async () => ({ ...authentic, verdict, authenticatedSeq: undefined, keyId: undefined })
    const answer = await call({ custody: { verify } }, 'GET /v1/custody/verify')
    expect(answer.body).toMatchObject({ verdict, sound: false })
    expect(answer.body).not.toHaveProperty('keyId')
  })

  it('compares with a head that was kept elsewhere', async () => {
    const asked: unknown[] = []
    const verify = async (head: unknown) => (asked.push(head), authentic)
    expect((await call({ custody: { verify } }, `GET /v1/custody/verify?head=17:${HASH}`)).status).toBe(200)
    expect(asked).toEqual([{ seq: 17, hash: HASH }])
    expect((await call({ custody: { verify } }, 'GET /v1/custody/verify?head=17')).status).toBe(400)
  })
})

describe('GET /v1/custody/head', () => {
  const envelope = { payloadType: 'application/x', payload: 'e30=', signatures: [{ keyid: HASH, sig: 'AA==' }] }

  it('gives the envelope', async () => {
    const answer = await call({ custody: { head: async () => envelope } }, 'GET /v1/custody/head')
    expect(answer).toMatchObject({ status: 200, body: envelope })
    expect((await call({}, 'GET /v1/custody/head?after=1')).status).toBe(400)
  })
})

describe('GET /v1/custody/export', () => {
  it('streams the lines', async () => {
    const answer = await call({ custody: { export: twoLines } }, 'GET /v1/custody/export?after=3')
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe('application/jsonl')
    expect(answer.text).toBe('{"seq":4}\n{"seq":5}\n')
  })

  it('never ends as a whole answer when the disk fails on the way', async () => {
    await expect(call({ custody: { export: failingLines } }, 'GET /v1/custody/export')).rejects.toThrow('aborted')
  })
})

describe('GET /v1/checkpoints/{id}/manifest', () => {
  const checkpoints = { get: () => checkpoint() }

  it('gives the envelope', async () => {
    const envelope = {
      payloadType: 'application/vnd.in-toto+json',
      payload: 'e30=',
      signatures: [{ keyid: HASH, sig: 'AA==' }],
    }
    const answer = await call(
      { checkpoints, custody: { manifest: () => envelope } },
      'GET /v1/checkpoints/9f2c4e5a7b1d3c60/manifest',
    )
    expect(answer.body).toEqual(envelope)
  })

  it('is a conflict while there is no digest', async () => {
    const answer = await call(
      { checkpoints, custody: { manifest: noDigest } },
      'GET /v1/checkpoints/9f2c4e5a7b1d3c60/manifest',
    )
    expect(answer).toMatchObject({ status: 409, body: { code: 'DigestUnknown' } })
  })
})
