import { rmSync, writeFileSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ApiServerClient, type ApiServerOptions } from '../../src/access/api-server-client.ts'
import { recordingLogger } from '../http/http-services.ts'
import { TestApiServer } from '../support/api-server.ts'

const PATH = '/apis/authentication.k8s.io/v1/tokenreviews'
const REVIEW = { kind: 'TokenReview', spec: { token: 'x' } }

describe('ApiServerClient', () => {
  it('uses the token that is in the file now', async () => {
    const { server, ask } = await open()
    expect(await ask()).toMatchObject({ kind: 'TokenReview' })
    server.agentToken = 'the-next-one'
    writeFileSync(server.tokenFile, 'the-next-one')
    expect(await ask(), 'asked again with it after a 401').toMatchObject({ kind: 'TokenReview' })
  })

  it('trusts the authority that is in the file now', async () => {
    const { server, ask } = await open()
    await ask()
    await server.useNewCertificate()
    expect(await ask()).toMatchObject({ kind: 'TokenReview' })
  })

  it.each([
    ['of another authority', { isCaWritten: false }],
    ['of an authority that has expired', { notAfter: new Date('2026-01-01T00:00:00Z') }],
  ])('does not talk to a server with a certificate %s', async (_, certificate) => {
    const { server, ask } = await open()
    await server.useNewCertificate(certificate)
    await expectUnavailable(ask())
    expect(server.calls).toEqual([])
  })

  it.each([429, 500, 503])('asks again after %d, a few times', async (code) => {
    const { server, ask } = await open()
    server.faults = { status: { code, times: 2 } }
    expect(await ask()).toMatchObject({ kind: 'TokenReview' })
    expect(server.calls).toHaveLength(3)
    server.faults = { status: { code, times: 100 } }
    await expectUnavailable(ask())
    expect(server.calls).toHaveLength(7)
  })

  it.each([403, 404])('does not repeat what is answered with %d', async (code) => {
    const { server, ask } = await open()
    server.faults = { status: { code, times: 1 } }
    await expect(ask()).rejects.toMatchObject({ status: code })
    expect(server.calls).toHaveLength(1)
  })

  it('waits for so long only, and shares no address or file with its callers', async () => {
    const { server, ask, logger } = await open({ timeoutMs: 100 })
    server.faults = { isStopped: true }
    const error = await expectUnavailable(ask())
    expect(JSON.stringify([error.message, error.hint])).not.toMatch(/127\.0\.0\.1|\/tmp|token/)
    expect(logger.lines).toHaveLength(1)
  })

  it.each(['refused connections', 'a missing token', 'a missing authority'])('is unavailable with %s', async (what) => {
    const { server, ask } = await open()
    if (what === 'refused connections') await server.refuseConnections()
    if (what === 'a missing token') rmSync(server.tokenFile)
    if (what === 'a missing authority') rmSync(server.caFile)
    const error = await expectUnavailable(ask())
    expect(error.message).not.toMatch(/ENOENT|ECONN|\/tmp/)
  })

  it.each(['token', 'authority'])('is unavailable when its %s is gone as it is to be read again', async (what) => {
    const { server, ask, logger } = await open()
    expect(await ask()).toMatchObject({ kind: 'TokenReview' })
    // The API server refuses the token that is in memory, so the files are read again before their time.
    server.agentToken = 'the-next-one'
    rmSync(what === 'token' ? server.tokenFile : server.caFile)
    const error = await expectUnavailable(ask())
    expect(error.message).not.toMatch(/ENOENT|\/tmp/)
    expect(logger.lines).toMatchObject([{ level: 'warn', fields: { err: { code: 'ENOENT' } } }])
    if (what === 'token') writeFileSync(server.tokenFile, 'the-next-one')
  })

  it.each(['no JSON', '{"a":'.padEnd(2 * 1024 * 1024, ' ')])('takes no answer that cannot be one', async (garbage) => {
    const { server, ask } = await open()
    server.faults = { garbage }
    expect(await expectUnavailable(ask())).toBeDefined()
  })

  it('recovers by itself', async () => {
    const { server, ask } = await open()
    await server.refuseConnections()
    await expectUnavailable(ask())
    await server.useNewCertificate()
    expect(await ask()).toMatchObject({ kind: 'TokenReview' })
  })

  it('does not let everybody wait', async () => {
    const { server, ask } = await open()
    server.faults = { latencyMs: 10 }
    const outcomes = await Promise.allSettled(Array.from({ length: 520 }, () => ask()))
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(8)
  })
})

async function open(options: Partial<ApiServerOptions> = {}) {
  const server = await TestApiServer.start()
  const logger = recordingLogger()
  const client = new ApiServerClient({ ...server.api, logger, retryDelaysMs: [1, 1, 1], ...options })
  onTestFinished(async () => {
    client.close()
    await server[Symbol.asyncDispose]()
  })
  return { server, logger, ask: () => client.send('POST', PATH, REVIEW) }
}

async function expectUnavailable(work: Promise<unknown>): Promise<{ message: string; hint: string }> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toMatchObject({ code: 'AuthorizationUnavailable' })
  return error as { message: string; hint: string }
}
