import { describe, expect, it } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { ConflictError, NotFoundError } from '../../src/shared/errors.ts'
import type { Actor } from '../../src/checkpoint/actor.ts'
import type { CheckpointActions } from '../../src/http/checkpoint-services.ts'
import { call } from './api-call.ts'
import { checkpoint, type ServiceChanges } from './http-services.ts'

const ID = checkpoint().id
const JSON_BODY = { 'Content-Type': 'application/json' }

function services(actions: Partial<CheckpointActions>, found = checkpoint()): ServiceChanges {
  return { checkpoints: { get: () => found }, actions }
}

async function tagOf(found = checkpoint()): Promise<string> {
  const answer = await call({ checkpoints: { get: () => found } }, `GET /v1/checkpoints/${ID}`)
  return String(answer.headers['etag'])
}

function refusing(code: string) {
  return () => Promise.reject(new ConflictError('no', { code, hint: 'Ask again.' }))
}

function knowingNone(): never {
  throw new NotFoundError('no', { code: 'CheckpointNotFound' })
}

function removing(): Promise<void> {
  return Promise.resolve()
}

function withoutPin(found: Checkpoint): Promise<Checkpoint> {
  const { pin, ...unpinned } = found
  expect(pin).toBeDefined()
  return Promise.resolve(unpinned)
}

describe('PUT /v1/checkpoints/{id}/pin', () => {
  it('pins, and answers with the checkpoint as it is then', async () => {
    const orders: object[] = []
    const pin: CheckpointActions['pin'] = (found, order) => {
      orders.push(order)
      return Promise.resolve({ ...found, pin: { by: 'us', reason: 'incident 7' } })
    }
    const path = `PUT /v1/checkpoints/${ID}/pin`
    const answer = await call(services({ pin }), path, { headers: JSON_BODY, body: { reason: 'incident 7' } })
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({ id: ID, pin: { by: 'us', reason: 'incident 7' } })
    const actor = expect.objectContaining({
      user: 'system:anonymous',
      requestId: answer.headers['x-request-id'],
    }) as Actor
    expect(orders).toEqual([{ actor, reason: 'incident 7' }])
  })

  it('needs no body', async () => {
    const orders: object[] = []
    const pin: CheckpointActions['pin'] = (found, order) => {
      orders.push(order)
      return Promise.resolve(found)
    }
    expect((await call(services({ pin }), `PUT /v1/checkpoints/${ID}/pin`)).status).toBe(200)
    expect(orders).toHaveLength(1)
    expect(orders[0]).not.toHaveProperty('reason')
  })

  it.each([
    { body: { reason: 7 }, name: 'reason' },
    { body: { until: 'tomorrow' }, name: 'until' },
  ])('names what is wrong with a body: $name', async ({ body, name }) => {
    const answer = await call(services({}), `PUT /v1/checkpoints/${ID}/pin`, { headers: JSON_BODY, body })
    expect(answer.status).toBe(400)
    expect(answer.body).toMatchObject({ problems: [{ in: 'body', name }] })
  })

  it('takes no body of another kind', async () => {
    const headers = { 'Content-Type': 'text/plain' }
    expect((await call(services({}), `PUT /v1/checkpoints/${ID}/pin`, { headers, body: 'x' })).status).toBe(415)
  })

  it('passes on why it cannot', async () => {
    const answer = await call(services({ pin: refusing('PinManaged') }), `PUT /v1/checkpoints/${ID}/pin`)
    expect(answer).toMatchObject({ status: 409, body: { code: 'PinManaged' } })
  })
})

describe('DELETE /v1/checkpoints/{id}/pin', () => {
  it('unpins, and answers with the checkpoint as it is then', async () => {
    const answer = await call(services({ unpin: withoutPin }), `DELETE /v1/checkpoints/${ID}/pin`)
    expect(answer).toMatchObject({ status: 200, body: { id: ID } })
    expect(answer.body).not.toHaveProperty('pin')
  })
})

describe('DELETE /v1/checkpoints/{id}', () => {
  it('removes', async () => {
    const removed: string[] = []
    const remove: CheckpointActions['remove'] = ({ id }) => Promise.resolve(void removed.push(id))
    const answer = await call(services({ remove }), `DELETE /v1/checkpoints/${ID}`)
    expect(answer).toMatchObject({ status: 204, text: '' })
    expect(removed).toEqual([ID])
  })

  it.each(['Pinned', 'InUse', 'BeingWritten'])('says that it cannot: %s', async (code) => {
    const answer = await call(services({ remove: refusing(code) }), `DELETE /v1/checkpoints/${ID}`)
    expect(answer).toMatchObject({ status: 409, body: { code, hint: 'Ask again.' } })
  })

  it('of what is not there is not found', async () => {
    const answer = await call({ checkpoints: { get: knowingNone } }, `DELETE /v1/checkpoints/${ID}`)
    expect(answer).toMatchObject({ status: 404, body: { code: 'CheckpointNotFound' } })
  })
})

/** Actions that keep the reason they were given. */
function noting() {
  const reasons: (string | undefined)[] = []
  const note = (found: Checkpoint, { reason }: { readonly reason?: string }) => {
    reasons.push(reason)
    return Promise.resolve(found)
  }
  const verify: CheckpointActions['verify'] = async (found, order) => {
    await note(found, order)
    return { isIntact: true, sha256: '', sizeBytes: 0, index: undefined, custody: undefined, problems: [] }
  }
  const remove: CheckpointActions['remove'] = async (found, order) => void (await note(found, order))
  return { reasons, changes: services({ pin: note, unpin: note, verify, remove }) }
}

describe('the reason of an action', () => {
  const ACTIONS = [
    { path: `PUT /v1/checkpoints/${ID}/pin`, name: 'pin' },
    { path: `DELETE /v1/checkpoints/${ID}/pin`, name: 'unpin' },
    { path: `POST /v1/checkpoints/${ID}/verify`, name: 'verify' },
    { path: `DELETE /v1/checkpoints/${ID}`, name: 'remove' },
  ] as const

  it.each(ACTIONS)('is passed on from the body and from the query: $name', async ({ path }) => {
    const { reasons, changes } = noting()
    const inBody = await call(changes, path, { headers: JSON_BODY, body: { reason: 'incident 7' } })
    expect([200, 204]).toContain(inBody.status)
    await call(changes, `${path}?reason=case%20closed`)
    await call(changes, path)
    await call(changes, `${path}?reason=in%20the%20query`, { headers: JSON_BODY, body: { reason: 'in the body' } })
    expect(reasons).toEqual(['incident 7', 'case closed', undefined, 'in the body'])
  })

  it.each(ACTIONS)('is refused where it is too long, or is called something else: $name', async ({ path }) => {
    const { reasons, changes } = noting()
    expect((await call(changes, `${path}?reason=${'x'.repeat(1_025)}`)).status).toBe(400)
    expect((await call(changes, `${path}?because=x`)).status).toBe(400)
    expect(reasons).toEqual([])
  })
})

describe('If-Match', () => {
  it.each([
    { name: 'the tag', of: (tag: string) => tag },
    { name: 'the tag among others', of: (tag: string) => `"other", ${tag}` },
    { name: 'any', of: () => '*' },
  ])('lets through $name', async ({ of }) => {
    const headers = { 'If-Match': of(await tagOf()) }
    expect((await call(services({ remove: removing }), `DELETE /v1/checkpoints/${ID}`, { headers })).status).toBe(204)
  })

  it.each([
    { name: 'another tag', of: () => '"other"' },
    { name: 'the tag as a weak one', of: (tag: string) => `W/${tag}` },
    { name: 'no tag at all', of: () => 'x' },
  ])('stops $name, and nothing is done', async ({ of }) => {
    const headers = { 'If-Match': of(await tagOf()) }
    const answer = await call(services({}), `DELETE /v1/checkpoints/${ID}`, { headers })
    expect(answer).toMatchObject({ status: 412, body: { code: 'PreconditionFailed' } })
  })

  it('stops the tag of the file that was there before', async () => {
    const headers = { 'If-Match': await tagOf(checkpoint({ generation: '1:2:3' })) }
    const found = checkpoint({ generation: '1:2:4' })
    for (const path of [`PUT /v1/checkpoints/${ID}/pin`, `DELETE /v1/checkpoints/${ID}/pin`]) {
      expect((await call(services({}, found), path, { headers })).status).toBe(412)
    }
  })
})

describe('POST /v1/checkpoints/{id}/verify', () => {
  it('shows what was found', async () => {
    const found = { sha256: 'ab', sizeBytes: 7, index: 'different', custody: undefined, isIntact: false } as const
    const verify = () => Promise.resolve({ ...found, problems: [] })
    const answer = await call(services({ verify }), `POST /v1/checkpoints/${ID}/verify`)
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      id: ID,
      intact: false,
      sha256: 'ab',
      sizeBytes: 7,
      index: 'different',
      problems: [],
    })
  })
})
