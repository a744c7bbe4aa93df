import { X509Certificate } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readExtensions } from '../../src/access/certificate-extensions.ts'
import { derValues, objectIdentifier } from '../../src/access/der-reader.ts'
import { TestAuthority } from '../support/certificate-maker.ts'

const numRuns = process.env['SLOW'] === '1' ? 20_000 : 500

describe('readExtensions', () => {
  it('tells what node:crypto does not', async () => {
    const authority = await TestAuthority.make({ pathLength: 3 })
    expect(readExtensions(rawOf(authority))).toEqual({ pathLength: 3, unknownCritical: [] })
    const plain = await authority.issue({ subject: 'CN=ada' })
    expect(readExtensions(rawOf(plain))).toEqual({ pathLength: undefined, unknownCritical: [] })
    const strange = await authority.issue({ subject: 'CN=ada', strangeExtension: true })
    expect(readExtensions(rawOf(strange))).toEqual({ pathLength: undefined, unknownCritical: ['1.2.3.4.5'] })
  })

  it('throws, and does nothing else, for a certificate that was damaged', async () => {
    const raw = rawOf(await TestAuthority.make({ pathLength: 3 }))
    fc.assert(
      fc.property(fc.nat(raw.length - 1), fc.nat(255), fc.nat(raw.length), (at, byte, length) => {
        const damaged = Buffer.from(raw)
        damaged[at] = byte
        expect(withoutError(damaged.subarray(0, length))).toBeTypeOf('object')
      }),
      { numRuns },
    )
  })

  it('throws, and does nothing else, for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(withoutError(Buffer.from(bytes))).toBeTypeOf('object')
      }),
      { numRuns },
    )
  })
})

describe('derValues', () => {
  it.each(['30', '3005', '308000', '30850000000001', '1f0100', '3084ffffffff'])('refuses %s', (hex) => {
    expect(() => derValues(Buffer.from(hex, 'hex'))).toThrow(Error)
  })
})

describe('objectIdentifier', () => {
  it.each([
    ['551d13', '2.5.29.19'],
    ['2a864886f70d01010b', '1.2.840.113549.1.1.11'],
    ['', '0.0'],
  ])('reads %s as %s', (hex, text) => {
    expect(objectIdentifier(Buffer.from(hex, 'hex'))).toBe(text)
  })
})

function withoutError(bytes: Buffer): object {
  try {
    return readExtensions(bytes)
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
}

function rawOf({ certificate }: { readonly certificate: string }): Buffer {
  return new X509Certificate(certificate).raw
}
