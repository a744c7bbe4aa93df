import { describe, expect, it } from 'vitest'
import { job, startApp, webPodKubelet } from './http-services.ts'
import { rawRequest, type RawAnswer } from './raw-request.ts'
import { accessOf, OURS, serve } from './role-services.ts'

const RATES = { capturesPerMinute: 2, contentPerMinute: 3 }
const ALL = ['create checkpoints in shop', 'get checkpoints in shop', 'get checkpoints/proxy in shop']
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
    expect(answer.headers['retry-after']).toBe('30')
    expect(JSON.parse(answer.body)).toMatchObject({
      type: 'urn:checkpoint-agent:problem:TooManyRequests',
      code: 'TooManyRequests',
      detail: 'Cannot do this now: "ada" has begun 2 captures within a minute',
      hint: 'Ask again in 30 s, or have server.limits.capturesPerMinute raised.',
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
    expect(answer.headers).toMatchObject({ 'content-type': 'text/plain; charset=utf-8', 'retry-after': '30' })
    expect((await ask('grace', KUBELET)).status).toBe(200)
  })

  it('begins as many readings of content as it may, whatever is read', async () => {
    const { ask } = await start()
    for (const part of ['archive', 'members/config.dump', 'rootfs-diff']) {
      expect((await ask('ada', read(part))).status).toBe(200)
    }
    for (const part of ['archive', 'members/config.dump', 'rootfs-diff']) {
      const answer = await ask('ada', read(part))
      expect(answer.status).toBe(429)
      expect(answer.headers['retry-after']).toBe('20')
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'TooManyRequests' })
    }
    expect((await ask('ada', read('members'))).status).toBe(200)
    expect((await ask('grace', read('archive'))).status).toBe(200)
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

function read(part: string) {
  return { method: 'GET', path: `/v1/checkpoints/${OURS}/${part}` }
}

const JSON_BODY = ['Content-Type', 'application/json'] as const

async function start() {
  const port = await startApp({ ...serve(), kubelet: webPodKubelet(), access: accessOf(ROLES), rates: RATES })
  const ask = (user: string, request: Omit<Parameters<typeof rawRequest>[1], 'headers'>): Promise<RawAnswer> => {
    const headers = [['Authorization', `Bearer ${user}`] as const, ...('body' in request ? [JSON_BODY] : [])]
    return rawRequest(port, { ...request, headers })
  }
  return { ask }
}
