import { describe, expect, it } from 'vitest'
import { AuthoritiesSource } from '../../src/access/authorities-source.ts'
import { CertificateAuthenticator } from '../../src/access/certificate-authenticator.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { authoritiesOf } from '../support/api-server.ts'
import {
  SERVER_AUTH,
  TestAuthority,
  type CertificateOrder,
  type MadeCertificate,
} from '../support/certificate-maker.ts'
import { showCertificate } from '../support/shown-certificates.ts'

const NAME = 'front-proxy-client'
const LEAF: CertificateOrder = { subject: `CN=${NAME}` }
const AN_HOUR_AGO = new Date(Date.now() - 3_600_000)
const IN_AN_HOUR = new Date(Date.now() + 3_600_000)

describe('a chain of certificates', () => {
  it.each<[string, (root: TestAuthority) => Promise<MadeCertificate>]>([
    ['straight from the root', (root) => root.issue(LEAF)],
    ['with an intermediate', async (root) => (await ca(root)).issue(LEAF)],
    ['with five intermediates', async (root) => (await ladder(root, 5)).issue(LEAF)],
    ['that names no usage', (root) => root.issue({ ...LEAF, usages: [] })],
    ['with RSA of 2048 bits', (root) => root.issue({ ...LEAF, key: 'rsa-2048' })],
    ['below an RSA intermediate', async (root) => (await ca(root, { key: 'rsa-2048' })).issue(LEAF)],
    ['below one that may sign', async (root) => (await ca(root, { maySign: true })).issue(LEAF)],
    ['just as long as allowed', async (root) => (await ca(root, { pathLength: 0 })).issue(LEAF)],
    ['with a name that is allowed', async (root) => (await ca(root, { onlyFor: 'shop' })).issue(OF_SHOP)],
    ['with certificates beside it that do not belong', async (root) => beside(await root.issue(LEAF), 3)],
    ['with the root itself', async (root) => withMore(await (await ca(root)).issue(LEAF), root.certificate)],
  ])('%s is good', async (_, make) => {
    expect(await whoIs(make)).toBe('user')
  })

  it.each<[string, (root: TestAuthority) => Promise<MadeCertificate>]>([
    ['that has expired', (root) => root.issue({ ...LEAF, notAfter: AN_HOUR_AGO })],
    ['that is not valid yet', (root) => root.issue({ ...LEAF, notBefore: IN_AN_HOUR })],
    ['with an expired intermediate', async (root) => (await ca(root, { notAfter: AN_HOUR_AGO })).issue(LEAF)],
    ['with an intermediate of tomorrow', async (root) => (await ca(root, { notBefore: IN_AN_HOUR })).issue(LEAF)],
    ['without its intermediate', async (root) => alone(await (await ca(root)).issue(LEAF))],
    ['longer than allowed', async (root) => (await ca(await ca(root, { pathLength: 0 }))).issue(LEAF)],
    ['with a name outside of a constraint', async (root) => (await ca(root, { onlyFor: 'bank' })).issue(OF_SHOP)],
    ['below one that must not sign', async (root) => (await ca(root, { maySign: false })).issue(LEAF)],
    ['below one that is no CA', async (root) => (await ca(root, { isAuthority: false })).issue(LEAF)],
    ['below a CA of servers', async (root) => (await ca(root, { usages: [SERVER_AUTH] })).issue(LEAF)],
    ['of a server', (root) => root.issue({ ...LEAF, usages: [SERVER_AUTH] })],
    ['for any usage, which OpenSSL does not count as clients', (root) => root.issue({ ...LEAF, usages: [ANY_USAGE] })],
    ['that demands what nobody knows', (root) => root.issue({ ...LEAF, strangeExtension: true })],
    ['below one that demands it', async (root) => (await ca(root, { strangeExtension: true })).issue(LEAF)],
    ['signed with SHA-1', async (root) => (await rsaCa(root)).issue({ ...LEAF, digest: 'SHA-1' })],
    ['signed with MD5', async (root) => (await rsaCa(root)).issue({ ...LEAF, digest: 'MD5' })],
    [
      'below one that is signed with SHA-1',
      async (root) => (await ca(await rsaCa(root), { digest: 'SHA-1' })).issue(LEAF),
    ],
    ['below one that is signed with MD5', async (root) => (await ca(await rsaCa(root), { digest: 'MD5' })).issue(LEAF)],
    ['with RSA of 1024 bits', (root) => root.issue({ ...LEAF, key: 'rsa-1024' })],
    ['below RSA of 1024 bits', async (root) => (await ca(root, { key: 'rsa-1024' })).issue(LEAF)],
    ['signed by itself', () => TestAuthority.make({ ...LEAF, isAuthority: false })],
    ['signed by itself, with the name of the root', () => TestAuthority.make({ subject: 'CN=clients' })],
    ['from another CA of the same name', async () => (await TestAuthority.make({ subject: 'CN=clients' })).issue(LEAF)],
    ['from an intermediate of another', async () => (await ca(await TestAuthority.make())).issue(LEAF)],
    ['of fifty', async (root) => (await ladder(root, 48)).issue(LEAF)],
    ['with fifty beside it', async (root) => beside(await root.issue(LEAF), 49)],
  ])('%s is refused', async (_, make) => {
    expect(await whoIs(make)).toBe('nobody')
  })

  it('issued with a certificate that is no CA is refused', async () => {
    const root = await TestAuthority.make({ subject: 'CN=clients' })
    const user = await TestAuthority.make({ subject: 'CN=ada', isAuthority: false }, root)
    expect(await whoIs(() => user.issue({ subject: 'CN=admin' }), { root })).toBe('nobody')
  })

  it.each(['MD5', 'SHA-1'] as const)('ends at the root, whose own signature is %s', async (digest) => {
    const root = await TestAuthority.make({ subject: 'CN=clients', key: 'rsa-2048', digest })
    expect(await whoIs((of) => of.issue(LEAF), { root })).toBe('user')
  })

  it('below a root with RSA of 1024 bits is refused', async () => {
    const root = await TestAuthority.make({ subject: 'CN=clients', key: 'rsa-1024' })
    expect(await whoIs((of) => of.issue(LEAF), { root })).toBe('nobody')
  })
})

describe('the two lists of CAs', () => {
  it('make a user of one and a proxy of the other, each by its own root alone', async () => {
    const proxies = await TestAuthority.make({ subject: 'CN=proxies' })
    const between = await ca(proxies)
    expect(await whoIs(() => proxies.issue(LEAF), { proxies })).toBe('proxy')
    expect(await whoIs(() => between.issue(LEAF), { proxies })).toBe('proxy')
    expect(await whoIs(() => between.issue({ subject: 'CN=somebody' }), { proxies })).toBe('nobody')
    expect(await whoIs(async (root) => withMore(await root.issue(LEAF), proxies.certificate), { proxies })).toBe('user')
  })

  it('may hold an intermediate, of which the root is not known here', async () => {
    const company = await TestAuthority.make({ subject: 'CN=company' })
    const cluster = await ca(company)
    const other = await ca(company)
    expect(await whoIs(() => cluster.issue(LEAF), { root: cluster })).toBe('user')
    expect(await whoIs(async () => alone(await cluster.issue(LEAF)), { root: cluster })).toBe('user')
    expect(await whoIs(() => other.issue(LEAF), { root: cluster })).toBe('nobody')
  })

  it('may both hold the same CA', async () => {
    const root = await TestAuthority.make({ subject: 'CN=clients' })
    expect(await whoIs(() => root.issue(LEAF), { root, proxies: root })).toBe('proxy')
    expect(await whoIs(() => root.issue({ subject: 'CN=ada' }), { root, proxies: root })).toBe('user')
  })

  it('refuse a chain that may stand on either, since OpenSSL does not tell on which it does', async () => {
    const root = await TestAuthority.make({ subject: 'CN=clients' })
    const proxies = await TestAuthority.make({ subject: 'CN=proxies' })
    const twin = { certificate: await root.crossSigned(root), key: root.key } as TestAuthority
    expect(await whoIs(() => root.issue(LEAF), { root, proxies: twin })).toBe('nobody')
    const between = await ca(root)
    const crossed = await between.crossSigned(proxies)
    expect(await whoIs(async () => withMore(await between.issue(LEAF), crossed), { root, proxies })).toBe('nobody')
  })

  it('take a chain beside which a cross-signed certificate leads elsewhere, or has expired', async () => {
    const root = await TestAuthority.make({ subject: 'CN=clients' })
    const proxies = await TestAuthority.make({ subject: 'CN=proxies' })
    const between = await ca(root)
    const elsewhere = await between.crossSigned(await TestAuthority.make({ subject: 'CN=old' }))
    expect(await whoIs(async () => withMore(await between.issue(LEAF), elsewhere), { root, proxies })).toBe('user')
    const expired = await between.crossSigned(proxies, { notAfter: AN_HOUR_AGO })
    expect(await whoIs(async () => withMore(await between.issue(LEAF), expired), { root, proxies })).toBe('user')
  })

  it('refuse a chain over a cross-signed certificate that may not issue', async () => {
    const proxies = await TestAuthority.make({ subject: 'CN=proxies' })
    const mine = await TestAuthority.make({ subject: 'CN=mine' })
    for (const order of [{ isAuthority: false }, { maySign: false }, { notAfter: AN_HOUR_AGO }, { onlyFor: 'bank' }]) {
      const crossed = await mine.crossSigned(proxies, order)
      expect(await whoIs(async () => withMore(await mine.issue(OF_SHOP), crossed), { proxies })).toBe('nobody')
    }
  })

  it('forget a CA that is removed, on connections that are open too, and take it again', async () => {
    const root = await TestAuthority.make({ subject: 'CN=clients' })
    const next = await TestAuthority.make({ subject: 'CN=next' })
    const lists = { clients: root, proxies: next }
    const source = await authorities(lists)
    const authenticator = new CertificateAuthenticator({
      authorities: source,
      clock: systemClock,
      logger: silentLogger,
    })
    const certificates = await showCertificate(await root.issue({ subject: 'CN=ada' }), source)
    const who = () =>
      authenticator.authenticate({ authorization: undefined, certificates, headers: {} })?.principal.user
    expect(who()).toBe('ada')
    lists.clients = next
    await source.refresh()
    expect(who()).toBeUndefined()
    lists.clients = root
    await source.refresh()
    expect(who()).toBe('ada')
  })
})

const ANY_USAGE = '2.5.29.37.0'
const OF_SHOP: CertificateOrder = { subject: `O=shop, CN=${NAME}` }

interface Lists {
  clients: TestAuthority
  proxies: TestAuthority
}

/** Somebody with the name of a proxy, the header of one, and this certificate. */
async function whoIs(
  make: (root: TestAuthority) => Promise<MadeCertificate>,
  given: { readonly root?: TestAuthority; readonly proxies?: TestAuthority } = {},
): Promise<'user' | 'proxy' | 'nobody'> {
  const root = given.root ?? (await TestAuthority.make({ subject: 'CN=clients' }))
  const proxies = given.proxies ?? (await TestAuthority.make({ subject: 'CN=proxies' }))
  const source = await authorities({ clients: root, proxies })
  const authenticator = new CertificateAuthenticator({ authorities: source, clock: systemClock, logger: silentLogger })
  const certificates = await showCertificate(await make(root), source)
  const headers = { 'x-remote-user': ['somebody else'] }
  const user = authenticator.authenticate({ authorization: undefined, certificates, headers })?.principal.user
  return user === undefined ? 'nobody' : user === 'somebody else' ? 'proxy' : 'user'
}

async function authorities(lists: Lists): Promise<AuthoritiesSource> {
  const api = { send: async () => ({ data: authoritiesOf(lists.clients, lists.proxies) }) }
  const source = new AuthoritiesSource({ api, logger: silentLogger })
  await source.refresh()
  return source
}

/** A CA below this one. */
function ca(issuer: TestAuthority, order: Partial<CertificateOrder> = {}): Promise<TestAuthority> {
  return TestAuthority.make({ subject: 'CN=between', ...order }, issuer)
}

function rsaCa(issuer: TestAuthority): Promise<TestAuthority> {
  return ca(issuer, { subject: 'CN=rsa', key: 'rsa-2048' })
}

async function ladder(root: TestAuthority, steps: number): Promise<TestAuthority> {
  let lowest = root
  for (let step = 0; step < steps; step += 1) lowest = await ca(lowest, { subject: `CN=between-${String(step)}` })
  return lowest
}

function alone({ key, certificate }: MadeCertificate): MadeCertificate {
  return { key, certificate: certificate.replace(/(-----END CERTIFICATE-----)[^]*/, '$1\n') }
}

function withMore({ key, certificate }: MadeCertificate, more: string): MadeCertificate {
  return { key, certificate: certificate + more }
}

async function beside(made: MadeCertificate, count: number): Promise<MadeCertificate> {
  const others = await Promise.all(Array.from({ length: count }, () => TestAuthority.make({ subject: 'CN=beside' })))
  return withMore(made, others.map(({ certificate }) => certificate).join(''))
}
