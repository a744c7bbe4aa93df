import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SERVER_AUTH, TestAuthority, type CertificateOrder } from '../support/certificate-maker.ts'
import { installPrograms } from './harness/client-programs.ts'
import { runCommand, type CommandResult } from './harness/node-command.ts'
import { startSecuredAgent, type CurlAnswer, type SecuredAgent } from './support/secured-agent.ts'
import { authoritiesOf } from '../support/api-server.ts'

// Real clients against the agent as a process of its own, in front of an API server of ours. No runtime is needed.

let secured: SecuredAgent

beforeAll(async () => {
  await installPrograms('curl', 'openssl')
  secured = await startSecuredAgent({ settings: { 'server.auth.tokenTtl': '1s', 'server.auth.denyTtl': '1s' } })
  secured.server.tokens.set('good', { username: 'ada', groups: ['shop'] })
})

afterAll(async () => {
  await secured[Symbol.asyncDispose]()
})

describe('openssl s_client', () => {
  it.each(['-tls1_2', '-tls1_3'])('is answered with %s', async (version) => {
    const { stdout, exitCode } = await speak([version], GET_HEALTH)
    expect(exitCode).toBe(0)
    expect(stdout).toContain(`Protocol  : ${version === '-tls1_2' ? 'TLSv1.2' : 'TLSv1.3'}`)
    expect(stdout).toContain('HTTP/1.1 200 OK')
  })

  it.each(['-tls1', '-tls1_1'])('is refused with %s', async (version) => {
    const { stdout, stderr, exitCode } = await speak([version, '-cipher', 'ALL:@SECLEVEL=0'], GET_HEALTH)
    expect(exitCode).not.toBe(0)
    expect(stderr).toMatch(/alert protocol version|unsupported protocol/)
    expect(stdout).not.toContain('HTTP/1.1')
  })

  it.each(['-tls1_2', '-tls1_3'])('is asked for a certificate of a CA that is trusted with %s', async (version) => {
    const { stdout } = await speak([version], '')
    expect(stdout).toMatch(/Requested Signature Algorithms|Client Certificate Types/)
    expect(stdout).toMatch(
      /Acceptable client certificate CA names\n.*CN = kubernetes-clients\n.*CN = kubernetes-proxies\n/,
    )
  })

  it('finds the fingerprint that is in the log and in /v1/node', async () => {
    const { stdout } = await speak([], '')
    const pem = /-----BEGIN CERTIFICATE-----[\s\S]*-----END CERTIFICATE-----/.exec(stdout)?.[0] ?? ''
    const printed = await runCommand('openssl', ['x509', '-noout', '-fingerprint', '-sha256'], { input: pem })
    const fingerprint = printed.stdout.trim().split('=')[1]
    expect(fingerprint).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
    expect(secured.agent.log().find(({ msg }) => msg === 'Serving TLS')).toMatchObject({ fingerprint })
    const node = await secured.curl('/v1/node', '-H', 'Authorization: Bearer good')
    expect(JSON.parse(node.body)).toMatchObject({ tlsFingerprint: fingerprint })
  })

  it.each(['-tls1_2', '-tls1_3'])(
    'resumes no session of %s, so what it showed once is not believed later',
    async (version) => {
      const { cert, key } = await certificate({ subject: 'CN=grace' })
      const session = join(secured.folder, `session${version}`)
      const first = await speak([version, '-cert', cert, '-key', key, '-sess_out', session], GET_ACCESS)
      expect(first.stdout).toContain('"user":"grace"')
      const second = await speak([version, '-sess_in', session], GET_ACCESS)
      expect(second.stdout).not.toMatch(/^Reused, /m)
      expect(second.stdout).toContain('HTTP/1.1 401 Unauthorized')
    },
  )
})

describe('curl', () => {
  it('is known by a token, by a certificate, and by the word of a front proxy', async () => {
    expect(who(await secured.curl('/v1/access', ...bearer('good')))).toEqual(['ada', ['shop']])
    const own = await certificate({ subject: 'CN=grace, O=one, O=two' })
    expect(who(await secured.curl('/v1/access', ...shown(own)))).toEqual(['grace', ['one', 'two', AUTHENTICATED]])
    const proxy = await proxyCertificate('front-proxy-client')
    const named = await secured.curl('/v1/access', ...shown(proxy), ...SPOKEN_FOR)
    expect(who(named)).toEqual(['admin', ['system:masters', AUTHENTICATED]])
  })

  it.each<[string, () => Promise<readonly string[]>]>([
    ['nothing', async () => []],
    ['an unknown token', async () => bearer('unknown')],
    ['a password', async () => ['-u', 'ada:good']],
    ['a name, and no certificate', async () => SPOKEN_FOR],
    [
      'a name, and a certificate of nobody known',
      async () => [...shown(await strange('front-proxy-client')), ...SPOKEN_FOR],
    ],
    [
      'a name, and a certificate of its own making',
      async () => [...shown(await selfMade('front-proxy-client')), ...SPOKEN_FOR],
    ],
    [
      'a name, and a proxy certificate of another name',
      async () => [...shown(await proxyCertificate('other')), ...SPOKEN_FOR],
    ],
    [
      'two names',
      async () => [...shown(await proxyCertificate('front-proxy-client')), ...SPOKEN_FOR, '-H', 'X-Remote-User: eve'],
    ],
    ['a proxy certificate, and no name', async () => shown(await proxyCertificate('front-proxy-client'))],
    ['a certificate of somebody else', async () => shown(await strange('grace'))],
    [
      'a certificate that has expired',
      async () => shown(await certificate({ subject: 'CN=grace', notAfter: new Date(Date.now() - 1000) })),
    ],
    [
      'a certificate that is not valid yet',
      async () => shown(await certificate({ subject: 'CN=grace', notBefore: new Date(Date.now() + 60_000) })),
    ],
    ['a certificate of a server', async () => shown(await certificate({ subject: 'CN=grace', usages: [SERVER_AUTH] }))],
    ['a certificate without a name', async () => shown(await certificate({ subject: 'O=system:masters' }))],
    ['a certificate of root of the node', async () => shown(await certificate({ subject: 'CN=system:local-root' }))],
  ])('is a stranger with %s', async (_, args) => {
    const answer = await secured.curl('/v1/access', ...(await args()))
    expect(answer.status).toBe(401)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'Unauthenticated' })
    expect((await secured.curl('/healthz', ...(await args()))).status).toBe(200)
  })

  it('is who its certificate says, whatever name it claims', async () => {
    const own = await certificate({ subject: 'CN=front-proxy-client, O=one' })
    const answer = await secured.curl('/v1/access', ...shown(own), ...SPOKEN_FOR)
    expect(who(answer)).toEqual(['front-proxy-client', ['one', AUTHENTICATED]])
    expect(who(await secured.curl('/v1/access', ...bearer('good'), ...SPOKEN_FOR))).toEqual(['ada', ['shop']])
  })

  it('is a stranger once its token is revoked and forgotten', async () => {
    secured.server.tokens.set('short', { username: 'eve' })
    expect((await secured.curl('/v1/access', ...bearer('short'))).status).toBe(200)
    secured.server.tokens.delete('short')
    await sleep(1100)
    expect((await secured.curl('/v1/access', ...bearer('short'))).status).toBe(401)
  })
})

describe('a token', () => {
  it('for others opens nothing where an audience is asked for', async () => {
    await using own = await startSecuredAgent({ settings: { 'server.auth.audiences': 'checkpoint-agent' } })
    own.server.tokens.set('for-the-api', { username: 'ada' })
    own.server.tokens.set('for-others', { username: 'ada', audiences: ['vault'] })
    own.server.tokens.set('for-us', { username: 'ada', audiences: ['vault', 'checkpoint-agent'] })
    expect((await own.curl('/v1/access', ...bearer('for-the-api'))).status).toBe(401)
    expect((await own.curl('/v1/access', ...bearer('for-others'))).status).toBe(401)
    expect(who(await own.curl('/v1/access', ...bearer('for-us')))).toEqual(['ada', []])
  })
})

describe('a front proxy', () => {
  it('is nobody where no name is allowed', async () => {
    await using own = await startSecuredAgent({ configMap: { 'requestheader-allowed-names': '[]' } })
    const user = own.write('user', await own.clients.issue({ subject: 'CN=grace' }))
    const proxy = own.write('proxy', await own.proxies.issue({ subject: 'CN=front-proxy-client' }))
    expect((await own.curl('/v1/access', ...shown(user))).status).toBe(200)
    expect((await own.curl('/v1/access', ...shown(proxy), ...SPOKEN_FOR)).status).toBe(401)
  })
})

describe('without a restart', () => {
  it('both authorities and the certificate of the port are replaced', async () => {
    const ports = await TestAuthority.make({ subject: 'CN=ports' })
    const servingOrder = { subject: 'CN=node-a', usages: [SERVER_AUTH], addresses: ['127.0.0.1'] }
    const folder = secured.folder
    const before = secured.write('serving', await ports.issue(servingOrder))
    await using own = await startSecuredAgent({
      settings: { 'server.tls.certFile': before.cert, 'server.tls.keyFile': before.key },
    })
    const user = own.write('user', await own.clients.issue({ subject: 'CN=grace' }))
    const proxy = own.write('proxy', await own.proxies.issue({ subject: 'CN=front-proxy-client' }))
    expect((await own.curl('/v1/access', ...shown(user))).status).toBe(200)
    expect(who(await own.curl('/v1/access', ...shown(proxy), ...SPOKEN_FOR))[0]).toBe('admin')
    const session = join(folder, 'session-before')
    const target = ['-connect', `127.0.0.1:${String(own.agent.port)}`]
    await speak(['-cert', user.cert, '-key', user.key, '-sess_out', session], GET_ACCESS, target)

    const clients = await TestAuthority.make({ subject: 'CN=kubernetes-clients' })
    const proxies = await TestAuthority.make({ subject: 'CN=kubernetes-proxies' })
    own.server.configMap = authoritiesOf(clients, proxies)
    const next = await ports.issue(servingOrder)
    secured.write('serving', next)
    writeFileSync(join(folder, 'ports.crt'), ports.certificate)
    const nextUser = own.write('next-user', await clients.issue({ subject: 'CN=grace' }))
    const nextProxy = own.write('next-proxy', await proxies.issue({ subject: 'CN=front-proxy-client' }))

    const patiently = { timeout: 90_000, interval: 1000 }
    await expect.poll(async () => (await own.curl('/v1/access', ...shown(nextUser))).status, patiently).toBe(200)
    expect(who(await own.curl('/v1/access', ...shown(nextProxy), ...SPOKEN_FOR))[0]).toBe('admin')
    expect((await own.curl('/v1/access', ...shown(user))).status).toBe(401)
    expect((await own.curl('/v1/access', ...shown(proxy), ...SPOKEN_FOR)).status).toBe(401)
    const resumed = await speak(['-cert', user.cert, '-key', user.key, '-sess_in', session], GET_ACCESS, target)
    expect(resumed.stdout).toContain('HTTP/1.1 401 Unauthorized')

    const fingerprint = new X509Certificate(next.certificate).fingerprint256
    const node = async () => JSON.parse((await own.curl('/v1/node', ...shown(nextUser))).body) as object
    await expect.poll(node, patiently).toMatchObject({ tlsFingerprint: fingerprint })
    const trusted = ['--cacert', join(folder, 'ports.crt'), ...shown(nextUser)]
    const url = `https://127.0.0.1:${String(own.agent.port)}/v1/node`
    expect((await runCommand('curl', ['-sSf', ...trusted, url])).exitCode).toBe(0)
    const served = await speak([], '', target)
    expect(new X509Certificate(served.stdout.slice(served.stdout.indexOf('-----BEGIN'))).fingerprint256).toBe(
      fingerprint,
    )
  })
})

const AUTHENTICATED = 'system:authenticated'
const SPOKEN_FOR = ['-H', 'X-Remote-User: admin', '-H', 'X-Remote-Group: system:masters']
const GET_HEALTH = 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
const GET_ACCESS = 'GET /v1/access HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'

/** Ends by itself where something is said, and is told to where nothing is. */
function speak(args: readonly string[], said: string, target?: readonly string[]): Promise<CommandResult> {
  const to = target ?? ['-connect', `127.0.0.1:${String(secured.agent.port)}`]
  const waits = said === '' ? [] : ['-ign_eof']
  return runCommand('openssl', ['s_client', ...to, ...waits, ...args], { input: said, timeoutMs: 20_000 })
}

let made = 0

type Files = ReturnType<SecuredAgent['write']>

function keep(issued: Parameters<SecuredAgent['write']>[1]): Files {
  made += 1
  return secured.write(`made-${String(made)}`, issued)
}

async function certificate(order: CertificateOrder) {
  return keep(await secured.clients.issue(order))
}

async function proxyCertificate(name: string) {
  return keep(await secured.proxies.issue({ subject: `CN=${name}` }))
}

/** Of an authority with the name of the right one. */
async function strange(name: string) {
  const authority = await TestAuthority.make({ subject: 'CN=kubernetes-clients' })
  return keep(await authority.issue({ subject: `CN=${name}` }))
}

async function selfMade(name: string) {
  return keep(await TestAuthority.make({ subject: `CN=${name}`, isAuthority: false }))
}

function shown({ cert, key }: Files): readonly string[] {
  return ['--cert', cert, '--key', key]
}

function bearer(token: string): readonly string[] {
  return ['-H', `Authorization: Bearer ${token}`]
}

function who({ status, body }: CurlAnswer): readonly unknown[] {
  expect(status).toBe(200)
  const { user, groups } = JSON.parse(body) as { user: string; groups: readonly string[] }
  return [user, groups]
}
