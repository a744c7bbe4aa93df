import { describe, expect, it } from 'vitest'
import type { RateLimits } from '../../src/http/rates.ts'
import { retryAfterSeconds } from '../../src/http/retry-after.ts'
import { checkpoint, job, startApp, webPodKubelet, type ServiceChanges } from './http-services.ts'
import { rawRequest, type RawAnswer } from './raw-request.ts'
import { accessOf, OURS, serve } from './role-services.ts'

const RATES = { capturesPerMinute: 2, contentPerMinute: 3, accessPerMinute: 2 }
const ALL = ['create', 'get', 'list', 'update', 'delete']
  .map((verb) => `${verb} checkpoints in shop`)
  .concat('get checkpoints/proxy in shop')
const ROLES = { ada: ALL, grace: ALL, eve: ['get checkpoints in shop'] }

const CAPTURE = { method: 'POST', path: '/v1/captures', body: '{"namespace":"shop","pod":"web-node-a"}' }
const KUBELET = { method: 'POST', path: '/checkpoint/shop/web-node-a/counter' }

describe('one user', () => {
  it('begins as many captures in a minute as it may, on both routes together, and others are not held up', async () => {
    const { ask } = await start()
    expect((await ask('ada', CAPTURE)).status).toBe(202)
    expect((await ask('ada', KUBELET)).status).toBe(200)
    const answer = await ask('ada', CAPTURE)
    expect(answer.status).toBe(429)
    const wait = waitOf(answer, 30)
    expect(JSON.parse(answer.body)).toMatchObject({
      type: 'urn:checkpoint-agent:problem:TooManyRequests',
      code: 'TooManyRequests',
      detail: 'Cannot do this now: "ada" has begun 2 captures within a minute',
      hint: `Ask again in ${String(wait)} s, or have server.limits.capturesPerMinute raised.`,
    })
    expect((await ask('grace', CAPTURE)).status).toBe(202)
    expect((await ask('ada', { method: 'GET', path: '/v1/captures' })).status).toBe(200)
  })

  it('is told so on the kubelet route as the kubelet tells what fails', async () => {
    const { ask } = await start()
    for (let asked = 0; asked < 2; asked += 1) expect((await ask('ada', KUBELET)).status).toBe(200)
    const answer = await ask('ada', KUBELET)
    expect(answer).toMatchObject({
      status: 500,
      body: 'checkpointing of shop/web-node-a/counter failed (Cannot do this now: "ada" has begun 2 captures within a minute)',
    })
    expect(answer.headers).toMatchObject({ 'content-type': 'text/plain; charset=utf-8' })
    waitOf(answer, 30)
    expect((await ask('grace', KUBELET)).status).toBe(200)
  })

  it.each([
    { setting: 'contentPerMinute', asks: [read('archive')], words: 'readings of content' },
    { setting: 'inspectionsPerMinute', asks: [read('members'), read('rootfs-diff')], words: 'looks into archives' },
    { setting: 'inspectionsPerMinute', asks: [read('members/config.dump')], words: 'looks into archives' },
    { setting: 'verifiesPerMinute', asks: [act('POST', '/verify')], words: 'verifications' },
    {
      setting: 'changesPerMinute',
      asks: [act('PUT', '/pin'), act('DELETE', '/pin'), act('DELETE', '')],
      words: 'pins, unpins and removals',
    },
    { setting: 'accessPerMinute', asks: [{ method: 'GET', path: '/v1/access' }], words: 'questions about permissions' },
  ] as const)('is told of $setting, and others are not held up', async ({ setting, asks, words }) => {
    const { ask } = await start({ [setting]: 3 })
    const [first] = asks
    for (let number = 0; number < 3; number += 1) {
      expect((await ask('ada', asks[number % asks.length] ?? first)).status).toBeLessThan(300)
    }
    for (const refused of asks) {
      const answer = await ask('ada', refused)
      expect(answer.status).toBe(429)
      const wait = waitOf(answer, 20)
      expect(JSON.parse(answer.body)).toMatchObject({
        code: 'TooManyRequests',
        detail: `Cannot do this now: "ada" has begun 3 ${words} within a minute`,
        hint: `Ask again in ${String(wait)} s, or have server.limits.${setting} raised.`,
      })
      expect((await ask('grace', refused)).status).toBeLessThan(300)
    }
    expect((await ask('ada', { method: 'GET', path: `/v1/checkpoints/${OURS}` })).status).toBe(200)
    expect((await ask('ada', { method: 'GET', path: '/v1/containers?namespace=shop' })).status).toBe(200)
  })

  it('pays for a manifest where the digest is not known', async () => {
    const { sha256: _, ...unknown } = checkpoint()
    const rows = [checkpoint(), checkpoint(), unknown, checkpoint(), unknown]
    const services = serve()
    const { ask } = await start(
      { inspectionsPerMinute: 1 },
      { ...services, checkpoints: { ...services.checkpoints, get: () => rows.shift() ?? checkpoint() } },
    )
    const statuses = []
    for (let asked = 0; asked < 5; asked += 1) statuses.push((await ask('ada', read('manifest'))).status)
    expect(statuses).toEqual([200, 200, 200, 200, 429])
  })

  it('pays nothing for what it may not, or asks wrongly', async () => {
    const { ask } = await start()
    for (let asked = 0; asked < 5; asked += 1) {
      expect((await ask('eve', CAPTURE)).status).toBe(403)
      expect((await ask('eve', { method: 'GET', path: `/v1/checkpoints/${OURS}/archive` })).status).toBe(403)
      expect((await ask('ada', { ...CAPTURE, body: '{}' })).status).toBe(400)
      expect((await ask('ada', { ...KUBELET, path: '/checkpoint/shop/none/x' })).status).toBe(404)
    }
    expect((await ask('ada', CAPTURE)).status).toBe(202)
  })
})

it('counts nobody where nobody has a name', async () => {
  const port = await startApp({ captures: { request: async () => job() }, rates: RATES })
  for (let asked = 0; asked < 10; asked += 1) {
    expect((await rawRequest(port, { ...CAPTURE, headers: [JSON_BODY] })).status).toBe(202)
  }
})

it.each([
  { least: 0, spread: [1, 2] },
  { least: 0.2, spread: [1, 2] },
  { least: 5, spread: [5, 7] },
  { least: 59.5, spread: [60, 75] },
])('asks those who are to wait $least s for whole seconds, and not all for the same', ({ least, spread }) => {
  expect([retryAfterSeconds(least, () => 0), retryAfterSeconds(least, () => 0.999_999)]).toEqual(spread)
})

function read(part: string) {
  return { method: 'GET', path: `/v1/checkpoints/${OURS}/${part}` }
}

const JSON_BODY = ['Content-Type', 'application/json'] as const

function act(method: string, below: string) {
  return { method, path: `/v1/checkpoints/${OURS}${below}` }
}

/** The seconds after which to ask again: so many at least, and a quarter more at most, so that not all come at once. */
function waitOf({ headers }: RawAnswer, least: number): number {
  const text = headers['retry-after'] ?? ''
  expect(text).toMatch(/^[1-9]\d*$/)
  expect(Number(text)).toBeGreaterThanOrEqual(least)
  expect(Number(text)).toBeLessThanOrEqual(least + Math.ceil(least / 4))
  return Number(text)
}

async function start(rates: Partial<RateLimits> = RATES, services: ServiceChanges = serve()) {
  const port = await startApp({ ...services, kubelet: webPodKubelet(), access: accessOf(ROLES), rates })
  const ask = (user: string, request: Omit<Parameters<typeof rawRequest>[1], 'headers'>): Promise<RawAnswer> => {
    const headers = [['Authorization', `Bearer ${user}`] as const, ...('body' in request ? [JSON_BODY] : [])]
    return rawRequest(port, { ...request, headers })
  }
  return { ask }
}
