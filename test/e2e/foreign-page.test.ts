import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { CheckpointList } from '../../src/api/checkpoint-schemas.ts'
import { hasProgram, startDemo, type RunningDemo } from '../demo/running-demo.ts'
import { sendRequest } from '../support/http-client.ts'
import { serveAttackingPage } from './support/attacking-page.ts'
import { CHROMIUM, documentOf, openBrowser } from './support/browser.ts'

// A demo agent, which asks nobody who they are, and pages of other origins in a real browser on the same machine.

const isHere = hasProgram(CHROMIUM)
if (!isHere) console.log('foreign-page: not run: there is no chromium on the PATH (apt-get install chromium)')

let demo: RunningDemo
beforeAll(async () => {
  if (isHere) demo = await startDemo({ demo: 'simulated' })
})
afterAll(async () => {
  if (!isHere) return
  demo.process.kill('SIGINT')
  await demo.ended
})

describe.skipIf(!isHere)('a page of another origin', () => {
  it.each(['127.0.0.1', 'localhost'])('cannot read, capture, sweep or delete through the agent at %s', async (host) => {
    const before = await state()
    const [{ id } = { id: '' }] = before.checkpoints
    const page = await serveAttackingPage()
    onTestFinished(() => page.stop())
    const url = page.url(`http://${host}:${String(demo.port())}`, id)
    const browser = openBrowser(url)
    onTestFinished(() => browser.stop())
    const attempts = await page.report
    console.log(`a page, at ${host}: ${JSON.stringify(attempts)}`)

    const seen = Object.values(attempts).join('\n')
    for (const secret of [id, 'counter', 'containerId', '"items"']) expect(seen).not.toContain(secret)
    expect(attempts['events']).toBe('got error')
    expect(await state()).toEqual(before)
    // It was the agent that refused, and not the browser that never asked.
    expect(refused()).toEqual(
      expect.arrayContaining([
        'GET /v1/checkpoints',
        'GET /v1/watch',
        'POST /v1/captures',
        'POST /checkpoint/shop/web-0/counter',
        'POST /v1/retention/sweep',
        `POST /v1/checkpoints/${id}/verify`,
      ]),
    )
  })

  it('cannot read by a name of its own that leads to this machine', async () => {
    const url = `http://rebound.test:${String(demo.port())}/v1/checkpoints`
    const document = await documentOf(url, 'MAP rebound.test 127.0.0.1')
    expect(document).toContain('ForeignHost')
    expect(document).not.toContain('"items"')
  })
})

describe.skipIf(!isHere)('the same requests', () => {
  it('are answered when they are typed into the browser, and when they come from a program', async () => {
    const { checkpoints } = await state()
    const [first] = checkpoints
    const document = await documentOf(`http://localhost:${String(demo.port())}/v1/checkpoints`)
    expect(document).toContain(first?.id ?? 'one')
    const target = { port: demo.port() }
    expect((await sendRequest(target, 'POST', '/checkpoint/shop/web-0/counter')).status).toBe(200)
    expect((await sendRequest(target, 'POST', '/v1/retention/sweep')).status).toBe(200)
    expect((await sendRequest(target, 'DELETE', `/v1/checkpoints/${first?.id ?? ''}`)).status).toBe(204)
  })
})

async function get<Body>(path: string): Promise<Body> {
  return (await sendRequest({ port: demo.port() }, 'GET', path)).json()
}

/** All that a page could have changed. */
async function state() {
  const { items } = await get<CheckpointList>('/v1/checkpoints')
  return {
    checkpoints: items.map(({ id, pin }) => ({ id, pin })),
    captures: await get('/v1/captures'),
    sweeps: await get('/v1/retention/history'),
  }
}

/** What the agent has refused so far, as in `GET /v1/node`. */
function refused(): readonly string[] {
  return readFileSync(demo.running('log'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { method?: string; url?: string; status?: number })
    .filter(({ status }) => status === 403)
    .map(({ method, url }) => `${method ?? ''} ${url ?? ''}`)
}
