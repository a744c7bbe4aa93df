import { X509Certificate } from 'node:crypto'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { selfSignedCertificate } from '../../src/http/self-signed-certificate.ts'
import { temporaryFolder } from './temporary-folder.ts'

const now = new Date('2026-11-20T21:34:07Z')

describe('selfSignedCertificate', () => {
  it('is for the node, localhost and both loopback addresses, for a year, with a P-256 key', async () => {
    const { certificate } = await make(temporaryFolder())
    const parsed = new X509Certificate(certificate)
    expect(parsed.subjectAltName).toBe('DNS:node-a, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1')
    expect(parsed.ca).toBe(false)
    expect(parsed.verify(parsed.publicKey)).toBe(true)
    expect(parsed.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: 'prime256v1' })
    expect(parsed.validFromDate.getTime()).toBeLessThan(now.getTime())
    expect(parsed.validToDate.toISOString()).toBe('2027-11-20T21:34:07.000Z')
  })

  it('is kept, the key for its owner only', async () => {
    const folder = join(temporaryFolder(), 'state')
    const first = await make(folder)
    expect(await make(folder)).toEqual(first)
    expect(readFileSync(join(folder, 'tls-key.pem'), 'utf8')).toBe(first.key)
    expect(statSync(join(folder, 'tls-key.pem')).mode & 0o777).toBe(0o600)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
  })

  it('takes back rights that somebody else got on the key', async () => {
    const folder = temporaryFolder()
    await make(folder)
    chmodSync(join(folder, 'tls-key.pem'), 0o644)
    await make(folder)
    expect(statSync(join(folder, 'tls-key.pem')).mode & 0o777).toBe(0o600)
  })

  it.each([
    { name: 'it has ended', change: { now: new Date('2028-01-01T00:00:00Z') } },
    { name: 'it ends within 30 days', change: { now: new Date('2027-10-22T00:00:00Z') } },
    { name: 'it is not valid yet', change: { now: new Date('2026-11-20T20:00:00Z') } },
    { name: "the node's name is another", change: { nodeName: 'node-b' } },
  ])('is made again when $name', async ({ change }) => {
    const folder = temporaryFolder()
    const first = await make(folder)
    const second = await make(folder, change)
    expect(second).not.toEqual(first)
    expect(await make(folder, change)).toEqual(second)
  })

  it('stays until 30 days before its end', async () => {
    const folder = temporaryFolder()
    const first = await make(folder)
    expect(await make(folder, { now: new Date('2027-10-20T00:00:00Z') })).toEqual(first)
  })

  it.each(['tls-key.pem', 'tls-certificate.pem'])('is made again when %s is damaged', async (file) => {
    const folder = temporaryFolder()
    const first = await make(folder)
    writeFileSync(join(folder, file), 'damaged')
    expect(await make(folder)).not.toEqual(first)
  })

  it('is made again when key and certificate are not of one pair', async () => {
    const folder = temporaryFolder()
    const other = await make(temporaryFolder())
    await make(folder)
    writeFileSync(join(folder, 'tls-key.pem'), other.key)
    const again = await make(folder)
    expect(again.key).not.toBe(other.key)
  })

  it.each([
    { nodeName: '10.0.0.7', names: 'IP Address:10.0.0.7, DNS:localhost' },
    { nodeName: 'no name; at all', names: 'DNS:localhost' },
    { nodeName: `${'a'.repeat(60)}.example.org`, names: `DNS:${'a'.repeat(60)}.example.org, DNS:localhost` },
  ])('copes with a node called $nodeName', async ({ nodeName, names }) => {
    const folder = temporaryFolder()
    const pair = await make(folder, { nodeName })
    expect(new X509Certificate(pair.certificate).subjectAltName).toContain(names)
    expect(await make(folder, { nodeName })).toEqual(pair)
  })
})

function make(directory: string, change: { readonly now?: Date; readonly nodeName?: string } = {}) {
  return selfSignedCertificate({
    directory,
    nodeName: change.nodeName ?? 'node-a',
    clock: { now: () => change.now ?? now },
  })
}
