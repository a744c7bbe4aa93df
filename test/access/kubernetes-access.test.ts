import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openAccess, type KubernetesAccess } from '../../src/access/access.ts'
import type { Credentials } from '../../src/access/credentials.ts'
import type { Principal } from '../../src/access/principal.ts'
import { GROUP, type Question } from '../../src/access/question.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { authoritiesOf, TestApiServer } from '../support/api-server.ts'
import {
  CLIENT_AUTH,
  SERVER_AUTH,
  TestAuthority,
  type CertificateOrder,
  type MadeCertificate,
} from '../support/certificate-maker.ts'
import { showCertificate } from '../support/shown-certificates.ts'
import { movableClock } from '../support/movable-clock.ts'

const MINUTE = 60_000

describe('bearer tokens', () => {
  it('are asked about once in two minutes', async () => {
    const { server, clock, who } = await open()
    server.tokens.set('good', { username: 'ada', groups: ['shop'] })
    expect(await who({ authorization: 'Bearer good' })).toEqual({ user: 'ada', groups: ['shop'] })
    expect(await who({ authorization: 'bearer  good' })).toMatchObject({ user: 'ada' })
    expect(server.count('POST tokenreviews')).toBe(1)

    server.tokens.delete('good')
    clock.move(2 * MINUTE - 1)
    expect(await who({ authorization: 'Bearer good' }), 'revoked, and not known to be').toMatchObject({ user: 'ada' })
    clock.move(1)
    expect(await who({ authorization: 'Bearer good' })).toBeUndefined()
  })

  it('that many show at once are asked about once', async () => {
    const { server, who } = await open()
    server.tokens.set('good', { username: 'ada' })
    server.faults = { latencyMs: 20 }
    const found = await Promise.all(Array.from({ length: 50 }, () => who({ authorization: 'Bearer good' })))
    expect(found.every((principal) => principal?.user === 'ada')).toBe(true)
    expect(server.count('POST tokenreviews')).toBe(1)
  })

  it('are asked about again after a failure', async () => {
    const { server, who } = await open()
    server.tokens.set('good', { username: 'ada' })
    server.faults = { status: { code: 403, times: 1 } }
    await expect(who({ authorization: 'Bearer good' })).rejects.toMatchObject({ code: 'AuthorizationUnavailable' })
    expect(await who({ authorization: 'Bearer good' })).toMatchObject({ user: 'ada' })
  })

  it('must be for an audience of ours', async () => {
    const { server, who } = await open({ audiences: ['checkpoint-agent'] })
    server.tokens.set('for-the-api', { username: 'ada' })
    server.tokens.set('for-us', { username: 'ada', audiences: ['checkpoint-agent', 'other'] })
    expect(await who({ authorization: 'Bearer for-the-api' })).toBeUndefined()
    expect(await who({ authorization: 'Bearer for-us' })).toMatchObject({ user: 'ada' })
  })

  it.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Basic YTpi',
    'Bearer a b',
    'Bearergood',
    `Bearer ${'x'.repeat(20_000)}`,
  ])('are not in %j', async (authorization) => {
    const { server, who } = await open()
    server.tokens.set('good', { username: 'ada' })
    expect(await who({ authorization })).toBeUndefined()
    expect(server.count('POST tokenreviews')).toBe(0)
  })

  it.each(['system:anonymous', 'system:local-root', 'system:checkpoint-agent'])('make nobody %s', async (username) => {
    const { server, who } = await open()
    server.tokens.set('good', { username })
    expect(await who({ authorization: 'Bearer good' })).toBeUndefined()
  })
})

describe('client certificates', () => {
  it('name the user and all the groups', async () => {
    const { who, certificates } = await open()
    const shown = await certificates({ subject: 'CN=ada, O=shop, O=bank' })
    expect(await who({ certificates: shown })).toEqual({
      user: 'ada',
      groups: ['shop', 'bank', 'system:authenticated'],
    })
  })

  it.each<[string, CertificateOrder]>([
    ['that has expired', { subject: 'CN=ada', notAfter: new Date(Date.now() - 1000) }],
    ['that is not valid yet', { subject: 'CN=ada', notBefore: new Date(Date.now() + MINUTE) }],
    ['of a server', { subject: 'CN=ada', usages: [SERVER_AUTH] }],
    ['without a name', { subject: 'O=shop' }],
    ['that demands what nobody knows', { subject: 'CN=ada', strangeExtension: true }],
    ['of root of this node', { subject: 'CN=system:local-root' }],
    ['of nobody', { subject: 'CN=system:anonymous' }],
  ])('%s are not good', async (_, order) => {
    const { who, certificates } = await open()
    expect(await who({ certificates: await certificates(order) })).toBeUndefined()
  })

  it.each([[[]], [[SERVER_AUTH, CLIENT_AUTH]]])('may be for %j', async (usages) => {
    const { who, certificates } = await open()
    expect(await who({ certificates: await certificates({ subject: 'CN=ada', usages }) })).toMatchObject({
      user: 'ada',
    })
  })

  it('end while the connection lives', async () => {
    const { clock, who, certificates } = await open()
    const shown = await certificates({ subject: 'CN=ada', notAfter: new Date(Date.now() + MINUTE / 2) })
    expect(await who({ certificates: shown })).toMatchObject({ user: 'ada' })
    clock.move(MINUTE)
    expect(await who({ certificates: shown })).toBeUndefined()
  })

  it('of another authority are not good, and do not spoil a token', async () => {
    const { server, who, show } = await open()
    const other = await TestAuthority.make({ subject: 'CN=kubernetes-clients' })
    const shown = await show(await other.issue({ subject: 'CN=ada', notAfter: new Date(Date.now() + MINUTE) }))
    expect(await who({ certificates: shown })).toBeUndefined()
    server.tokens.set('good', { username: 'grace' })
    expect(await who({ certificates: shown, authorization: 'Bearer good' })).toMatchObject({ user: 'grace' })
  })

  it('may have intermediates above them, where those may issue them', async () => {
    const { clients, who, show } = await open()
    const between = await TestAuthority.make({ subject: 'CN=between' }, clients)
    expect(await who({ certificates: await show(await between.issue({ subject: 'CN=ada' })) })).toMatchObject({
      user: 'ada',
    })
    const { key, certificate } = await between.issue({ subject: 'CN=ada' })
    const alone = { key, certificate: certificate.replace(/(-----END CERTIFICATE-----)[\s\S]*/, '$1\n') }
    expect(await who({ certificates: await show(alone) }), 'without the one above').toBeUndefined()

    const servers = await TestAuthority.make({ subject: 'CN=servers', usages: [SERVER_AUTH] }, clients)
    expect(await who({ certificates: await show(await servers.issue({ subject: 'CN=ada' })) })).toBeUndefined()
    const none = await TestAuthority.make({ subject: 'CN=no-authority', isAuthority: false }, clients)
    expect(await who({ certificates: await show(await none.issue({ subject: 'CN=ada' })) })).toBeUndefined()
    const expired = await TestAuthority.make({ subject: 'CN=expired', notAfter: new Date(Date.now() - 1000) }, clients)
    expect(await who({ certificates: await show(await expired.issue({ subject: 'CN=ada' })) })).toBeUndefined()
    const short = await TestAuthority.make({ subject: 'CN=short', pathLength: 0 }, clients)
    expect(await who({ certificates: await show(await short.issue({ subject: 'CN=ada' })) })).toMatchObject({
      user: 'ada',
    })
    const below = await TestAuthority.make({ subject: 'CN=below' }, short)
    expect(await who({ certificates: await show(await below.issue({ subject: 'CN=ada' })) })).toBeUndefined()
  })

  it('follow the authority when it changes, on connections that are open too', async () => {
    const { server, access, who, certificates, show } = await open()
    const before = await certificates({ subject: 'CN=ada' })
    expect(await who({ certificates: before })).toMatchObject({ user: 'ada' })
    const next = await TestAuthority.make({ subject: 'CN=the-next' })
    server.configMap = { ...server.configMap, 'client-ca-file': next.certificate }
    await access.refresh()
    expect(await who({ certificates: before })).toBeUndefined()
    expect(await who({ certificates: await show(await next.issue({ subject: 'CN=ada' })) })).toMatchObject({
      user: 'ada',
    })
  })

  it.each(['{', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])(
    'stay as they are while the ConfigMap cannot be used: %j',
    async (text) => {
      const { server, access, who, certificates } = await open()
      const changed = text === '{' ? { 'requestheader-allowed-names': text } : { 'client-ca-file': text }
      server.configMap = { ...server.configMap, ...changed }
      await access.refresh()
      expect(await who({ certificates: await certificates({ subject: 'CN=ada' }) })).toMatchObject({ user: 'ada' })
    },
  )

  it('may be of an authority in a file', async () => {
    const { access, folder, ofFile, who, show } = await open({ withFile: true })
    expect(await who({ certificates: await show(await ofFile.issue({ subject: 'CN=ada' })) })).toMatchObject({
      user: 'ada',
    })
    const next = await TestAuthority.make({ subject: 'CN=file' })
    writeFileSync(join(folder, 'clients.crt'), next.certificate)
    await access.refresh()
    expect(await who({ certificates: await show(await ofFile.issue({ subject: 'CN=ada' })) })).toBeUndefined()
    expect(await who({ certificates: await show(await next.issue({ subject: 'CN=ada' })) })).toMatchObject({
      user: 'ada',
    })
    writeFileSync(join(folder, 'clients.crt'), 'damaged')
    await access.refresh()
    expect(await who({ certificates: await show(await next.issue({ subject: 'CN=ada' })) })).toMatchObject({
      user: 'ada',
    })
  })

  it('cannot be judged before the authorities are known', async () => {
    const { server, clients, who, show } = await open({ isRefreshed: false })
    const shown = await show(await clients.issue({ subject: 'CN=ada' }))
    await expect(who({ certificates: shown })).rejects.toMatchObject({ code: 'AuthorizationUnavailable' })
    server.tokens.set('good', { username: 'ada' })
    server.faults = {}
    expect(await who({ certificates: shown, authorization: 'Bearer good' })).toMatchObject({ user: 'ada' })
  })
})

describe('front proxies', () => {
  const headers = {
    'x-remote-user': ['ada'],
    'x-remote-group': ['shop', 'a, b'],
    'x-remote-extra-scopes%2fx': ['one', 'two'],
    'x-remote-extra-': ['odd'],
  }

  it('speak for others', async () => {
    const { proxies, who, show } = await open()
    const certificates = await show(await proxies.issue({ subject: 'CN=front-proxy-client' }))
    expect(await who({ certificates, headers })).toEqual({
      user: 'ada',
      groups: ['shop', 'a, b', 'system:authenticated'],
      extra: { 'scopes/x': ['one', 'two'], '': ['odd'] },
    })
  })

  it('are only those with an allowed name', async () => {
    const { server, access, proxies, who, show } = await open()
    const certificates = await show(await proxies.issue({ subject: 'CN=somebody' }))
    expect(await who({ certificates, headers })).toBeUndefined()
    server.configMap = { ...server.configMap, 'requestheader-allowed-names': '[]' }
    await access.refresh()
    expect(await who({ certificates, headers }), 'an empty list allows nobody').toBeUndefined()
    const usual = await show(await proxies.issue({ subject: 'CN=front-proxy-client' }))
    expect(await who({ certificates: usual, headers })).toBeUndefined()
  })

  it('are no users, and users are no proxies', async () => {
    const { clients, proxies, who, show } = await open()
    const user = await show(await clients.issue({ subject: 'CN=front-proxy-client' }))
    expect(await who({ certificates: user, headers })).toMatchObject({ user: 'front-proxy-client' })
    const proxy = await show(await proxies.issue({ subject: 'CN=front-proxy-client, O=system:masters' }))
    expect(await who({ certificates: proxy }), 'without a header').toBeUndefined()
  })

  it('are not believed without a certificate, nor with two users', async () => {
    const { server, proxies, who, show } = await open()
    expect(await who({ headers })).toBeUndefined()
    server.tokens.set('good', { username: 'grace' })
    expect(await who({ headers, authorization: 'Bearer good' })).toMatchObject({ user: 'grace', groups: [] })
    const certificates = await show(await proxies.issue({ subject: 'CN=front-proxy-client' }))
    const two = { ...headers, 'x-remote-user': ['ada', 'grace'] }
    expect(await who({ certificates, headers: two })).toBeUndefined()
  })

  it('name nobody who is reserved', async () => {
    const { proxies, who, show } = await open()
    const certificates = await show(await proxies.issue({ subject: 'CN=front-proxy-client' }))
    for (const user of ['system:anonymous', 'system:local-root', '']) {
      expect(await who({ certificates, headers: { 'x-remote-user': [user] } })).toBeUndefined()
    }
  })
})

describe('permissions', () => {
  const ada: Principal = { user: 'ada', groups: [] }
  const question: Question = { verb: 'get', group: GROUP, resource: 'checkpoints', namespace: 'shop' }

  it('are believed for five minutes, their absence for half a minute', async () => {
    const { server, clock, access } = await open()
    const may = async () => (await access.authorizer.decide(ada, question)).isAllowed
    expect(await may()).toBe(false)
    server.grants.push({ to: 'ada', namespace: 'shop', verbs: ['get'], resources: ['checkpoints'] })
    clock.move(29_999)
    expect(await may()).toBe(false)
    clock.move(1)
    expect(await may()).toBe(true)
    server.grants.pop()
    clock.move(5 * MINUTE - 1)
    expect(await may()).toBe(true)
    clock.move(1)
    expect(await may()).toBe(false)
    expect(server.count('POST subjectaccessreviews')).toBe(3)
  })

  it('are asked about once for many who ask at once', async () => {
    const { server, access } = await open()
    server.faults = { latencyMs: 20 }
    await Promise.all(Array.from({ length: 50 }, async () => access.authorizer.decide({ ...ada }, { ...question })))
    expect(server.count('POST subjectaccessreviews')).toBe(1)
  })

  it('are not mixed up', async () => {
    const { server, access } = await open()
    server.grants.push({ to: 'ada', namespace: 'shop', verbs: ['get'], resources: ['checkpoints'] })
    const may = async (change: Partial<Question>, principal = ada) => {
      return (await access.authorizer.decide(principal, { ...question, ...change })).isAllowed
    }
    expect(await may({})).toBe(true)
    for (const change of [
      { verb: 'list' },
      { namespace: 'bank' },
      { namespace: '' },
      { subresource: 'proxy' },
    ] as const) {
      expect(await may(change)).toBe(false)
    }
    expect(await may({}, { user: 'grace', groups: [] })).toBe(false)
    expect(await may({}, { user: 'grace', groups: ['ada'] }), 'a group of that name').toBe(true)
  })

  it('are never there while the API server cannot be asked', async () => {
    const { server, clock, access } = await open()
    server.grants.push({ to: 'ada', verbs: ['*'], resources: ['*'] })
    const ask = async () => access.authorizer.decide(ada, question)
    expect((await ask()).isAllowed).toBe(true)
    await server.refuseConnections()
    expect((await ask()).isAllowed, 'from the cache').toBe(true)
    clock.move(5 * MINUTE)
    await expect(ask()).rejects.toMatchObject({ code: 'AuthorizationUnavailable' })
    await server.useNewCertificate()
    expect((await ask()).isAllowed).toBe(true)
  })
})

interface Changes extends Partial<Pick<KubernetesAccess, 'audiences'>> {
  readonly withFile?: boolean
  readonly isRefreshed?: boolean
}

async function open({ audiences = [], withFile = false, isRefreshed = true }: Changes = {}) {
  const server = await TestApiServer.start()
  const clients = await TestAuthority.make({ subject: 'CN=kubernetes-clients' })
  const proxies = await TestAuthority.make({ subject: 'CN=kubernetes-proxies' })
  const ofFile = await TestAuthority.make({ subject: 'CN=file' })
  const clientCaFile = join(server.folder, 'clients.crt')
  writeFileSync(clientCaFile, ofFile.certificate)
  server.configMap = authoritiesOf(clients, proxies)
  if (!isRefreshed) server.faults = { status: { code: 400, times: 1 } }
  const clock = movableClock()
  const access = await openAccess({
    mode: 'kubernetes',
    api: server.api,
    audiences,
    tokenTtlMs: 2 * MINUTE,
    allowTtlMs: 5 * MINUTE,
    denyTtlMs: 30_000,
    clientCaFile: withFile ? clientCaFile : undefined,
    clusterCertificates: true,
    clock,
    logger: silentLogger,
  })
  onTestFinished(async () => {
    access.stop()
    await server[Symbol.asyncDispose]()
  })
  if (isRefreshed) await access.refresh()
  const who = async (shown: Partial<Credentials>) => {
    const identity = await access.authenticate({
      authorization: undefined,
      certificates: undefined,
      headers: {},
      ...shown,
    })
    return identity?.principal
  }
  const show = async (made: MadeCertificate) => {
    const { clientAuthorities } = access
    if (clientAuthorities === undefined) throw new Error('No certificates are taken')
    return await showCertificate(made, clientAuthorities)
  }
  const certificates = async (order: CertificateOrder) => await show(await clients.issue(order))
  return { server, folder: server.folder, clock, access, clients, proxies, ofFile, who, show, certificates }
}
