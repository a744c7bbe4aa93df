import { describe, expect, it, onTestFinished } from 'vitest'
import { openAccess } from '../../src/access/access.ts'
import type { ApiServer } from '../../src/access/api-server-client.ts'
import { GROUP } from '../../src/access/question.ts'
import { ReviewAuthorizer } from '../../src/access/review-authorizer.ts'
import { TokenAuthenticator } from '../../src/access/token-authenticator.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { TestApiServer } from '../support/api-server.ts'
import { movableClock } from '../support/movable-clock.ts'

const TTL = 120_000

describe('a flood of tokens that are no good', () => {
  it('costs the API server so many questions and no more', async () => {
    const { server, flood } = await open()
    const began = performance.now()
    const stop = flood({ connections: 100 })
    await expect.poll(() => performance.now() - began, { timeout: 10_000 }).toBeGreaterThan(3000)
    await stop()
    const seconds = (performance.now() - began) / 1000
    expect(server.count('POST tokenreviews')).toBeLessThan(200 + 50 * seconds + 10)
    expect(server.count('POST tokenreviews')).toBeGreaterThan(200)
  })

  it('keeps nobody waiting whose token was good before', async () => {
    const { server, clock, who, flood } = await open()
    server.tokens.set('good', { username: 'ada' })
    expect(await who('good')).toBe('ada')
    const stop = flood({ connections: 200 })
    await expect.poll(() => server.count('POST tokenreviews'), { timeout: 10_000 }).toBeGreaterThan(200)
    for (let round = 0; round < 5; round += 1) {
      clock.move(TTL)
      const began = performance.now()
      expect(await who('good')).toBe('ada')
      expect(performance.now() - began).toBeLessThan(2500)
    }
    await stop()
  })

  it('over few connections keeps nobody waiting over another, whatever the token', async () => {
    const { server, who, flood } = await open()
    const stop = flood({ connections: 10, perConnection: 20 })
    await expect.poll(() => server.count('POST tokenreviews'), { timeout: 10_000 }).toBeGreaterThan(200)
    for (let user = 0; user < 5; user += 1) {
      server.tokens.set(`new-${String(user)}`, { username: `user-${String(user)}` })
      const began = performance.now()
      expect(await who(`new-${String(user)}`)).toBe(`user-${String(user)}`)
      expect(performance.now() - began).toBeLessThan(3000)
    }
    await stop()
  })

  it('is refused as what it is: nobody is taken for somebody, and errors are not remembered', async () => {
    const { server, who } = await open()
    server.faults = { latencyMs: 100 }
    const asked = Array.from({ length: 400 }, (_, number) => {
      return who(`bad-${String(number)}`, {}).catch((error: unknown) => error)
    })
    const outcomes = await Promise.all(asked)
    const errors = outcomes.filter((outcome) => outcome !== undefined)
    expect(errors.length).toBeGreaterThan(0)
    for (const error of errors) expect(error).toMatchObject({ code: 'AuthorizationUnavailable' })
    server.faults = {}
    server.tokens.set('bad-399', { username: 'late' })
    expect(errors).toContain(outcomes[399])
    expect(await who('bad-399')).toBe('late')
  })
})

describe("one user's flood of questions", () => {
  it('drives nobody else out of what is remembered', async () => {
    const asked: string[] = []
    const api: ApiServer = {
      send: async (_method, _path, body) => {
        asked.push(JSON.stringify(body))
        return { status: { allowed: true } }
      },
    }
    const [allowTtlMs, denyTtlMs] = [TTL, TTL]
    const authorizer = new ReviewAuthorizer({ api, clock: movableClock(), allowTtlMs, denyTtlMs, maxEntries: 100 })
    const ask = async (user: string, namespace: string) => {
      const question = { verb: 'list', group: GROUP, resource: 'checkpoints', namespace } as const
      return authorizer.decide({ user, groups: [] }, question)
    }
    await ask('ada', 'shop')
    for (let number = 0; number < 1000; number += 1) await ask('eve', `namespace-${String(number)}`)
    expect(asked).toHaveLength(1001)
    expect(await ask('ada', 'shop')).toMatchObject({ isAllowed: true })
    expect(asked).toHaveLength(1001)
    expect(authorizer.cacheSize).toBe(100)
  })

  it('of tokens that are no good drives out none that is', async () => {
    let asked = 0
    const api: ApiServer = {
      send: async (_method, _path, body) => {
        asked += 1
        const isGood = JSON.stringify(body).includes('"good"')
        return { status: isGood ? { authenticated: true, user: { username: 'ada' } } : { authenticated: false } }
      },
    }
    const tokens = new TokenAuthenticator({ api, clock: movableClock(), audiences: [], ttlMs: TTL, maxEntries: 20 })
    await tokens.authenticate('good')
    for (let number = 0; number < 100; number += 1) await tokens.authenticate(`bad-${String(number)}`)
    expect(asked).toBe(101)
    expect(await tokens.authenticate('good')).toMatchObject({ value: { user: 'ada' } })
    expect(asked).toBe(101)
  })

  it('keeps nobody else waiting', async () => {
    const { server, access } = await open()
    server.grants.push({ to: 'ada', verbs: ['*'], resources: ['*'] })
    server.faults = { latencyMs: 20 }
    const ask = async (user: string, namespace: string) => {
      const question = { verb: 'list', group: GROUP, resource: 'checkpoints', namespace } as const
      return access.authorizer.decide({ user, groups: [] }, question)
    }
    const flood = Array.from({ length: 600 }, (_, number) =>
      ask('eve', `namespace-${String(number)}`).catch(() => undefined),
    )
    const began = performance.now()
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, number) => ask('ada', `namespace-${String(number)}`)),
    )
    expect(answers.every(({ isAllowed }) => isAllowed)).toBe(true)
    expect(performance.now() - began).toBeLessThan(3000)
    const outcomes = await Promise.all(flood)
    expect(outcomes.some((outcome) => outcome?.isAllowed === true)).toBe(false)
    expect(outcomes.filter((outcome) => outcome === undefined).length).toBeGreaterThan(100)
  })
})

async function open() {
  const server = await TestApiServer.start()
  const clock = movableClock()
  const access = await openAccess({
    mode: 'kubernetes',
    api: server.api,
    audiences: [],
    tokenTtlMs: TTL,
    allowTtlMs: TTL,
    denyTtlMs: TTL,
    clientCaFile: undefined,
    clusterCertificates: false,
    clock,
    logger: silentLogger,
  })
  onTestFinished(async () => {
    access.stop()
    await server[Symbol.asyncDispose]()
  })
  const who = async (token: string, connection: object = {}) => {
    const shown = { authorization: `Bearer ${token}`, connection, certificates: undefined, headers: {} }
    return (await access.authenticate(shown))?.principal.user
  }
  let number = 0
  /** Each tries one token after the other, over connections of its own, until told to stop. */
  const flood = ({
    connections,
    perConnection = 1,
  }: {
    readonly connections: number
    readonly perConnection?: number
  }) => {
    const over = new AbortController()
    const attack = async (connection: object) => {
      while (!over.signal.aborted) {
        number += 1
        await who(`bad-${String(number)}`, connection).catch(() => undefined)
      }
    }
    const attackers = Array.from({ length: connections }, () => ({})).flatMap((connection) =>
      Array.from({ length: perConnection }, () => attack(connection)),
    )
    return async () => {
      over.abort()
      await Promise.all(attackers)
    }
  }
  return { server, clock, access, who, flood }
}
