import { describe, expect, it } from 'vitest'
import type { HealthCheck } from '../../src/http/node-services.ts'
import { call } from './api-call.ts'

const ok: HealthCheck = { name: 'runtime', state: 'ok' }
const degraded: HealthCheck = { name: 'disk', state: 'degraded', reason: 'nearly full', hint: 'Make room.' }
const failed: HealthCheck = { name: 'store', state: 'failed', reason: 'it cannot be read', hint: 'Restart the agent.' }

describe('GET /healthz', () => {
  it.each([
    { isAlive: true, status: 200, text: 'ok' },
    { isAlive: false, status: 503, text: 'failed' },
  ])('answers $status when alive is $isAlive', async ({ isAlive, status, text }) => {
    const answer = await call({ health: { isAlive: () => isAlive } }, 'GET /healthz')
    expect(answer.status).toBe(status)
    expect(answer.body).toEqual({ status: text })
  })
})

describe('GET /readyz', () => {
  it.each([
    { checks: [], status: 200, state: 'ok' },
    { checks: [ok], status: 200, state: 'ok' },
    { checks: [ok, degraded], status: 200, state: 'degraded' },
    { checks: [failed, degraded, ok], status: 503, state: 'failed' },
  ])('answers $status, "$state", for $checks', async ({ checks, status, state }) => {
    const answer = await call({ health: { checks: () => checks } }, 'GET /readyz')
    expect(answer.status).toBe(status)
    expect(answer.body).toEqual({ status: state })
  })

  it.each(['verbose', 'verbose=', 'verbose=true'])(
    'lists the checks with ?%s, each that fails with its reason and the next step',
    async (query) => {
      const answer = await call({ health: { checks: () => [ok, failed] } }, `GET /readyz?${query}`)
      expect(answer.status).toBe(503)
      expect(answer.body).toEqual({
        status: 'failed',
        checks: [
          { name: 'runtime', state: 'ok' },
          { name: 'store', state: 'failed', reason: 'it cannot be read', hint: 'Restart the agent.' },
        ],
      })
    },
  )

  it.each([
    { query: 'verbose=false', status: 200 },
    { query: 'verbose=x', status: 400 },
    { query: 'exclude=disk', status: 400 },
  ])('answers $status to ?$query', async ({ query, status }) => {
    const answer = await call({ health: { checks: () => [ok] } }, `GET /readyz?${query}`)
    expect(answer.status).toBe(status)
    expect(answer.body).not.toHaveProperty('checks')
  })
})

describe('GET /metrics', () => {
  it('passes on text and type', async () => {
    const contentType = 'text/plain; version=0.0.4; charset=utf-8'
    const text = '# HELP up é\nup 1\n'
    const answer = await call({ metrics: async () => ({ contentType, text }) }, 'GET /metrics')
    expect(answer.headers['content-type']).toBe(contentType)
    expect(answer.headers['content-length']).toBe(String(Buffer.byteLength(text)))
    expect(answer.text).toBe(text)
  })
})
