import { derValues, objectIdentifier, type DerValue } from './der-reader.ts'

/** What `node:crypto` does not tell of a certificate. */
export interface CertificateExtensions {
  /** How many intermediate authorities may stand below this one; undefined: any number. */
  readonly pathLength: number | undefined
  /** Critical ones that nobody here understands: who says critical says "or refuse". */
  readonly unknownCritical: readonly string[]
}

const TAG = { boolean: 0x01, integer: 0x02, octets: 0x04, oid: 0x06, extensions: 0xa3 } as const

const BASIC_CONSTRAINTS = '2.5.29.19'

/** Key usage, alternative names, basic constraints, extended key usage: OpenSSL or we look at them. */
const UNDERSTOOD = new Set(['2.5.29.15', '2.5.29.17', BASIC_CONSTRAINTS, '2.5.29.37'])

/** Throws where the bytes are no certificate. */
export function readExtensions(certificate: Buffer): CertificateExtensions {
  const [whole] = derValues(certificate)
  const [signed] = derValues(whole?.content ?? Buffer.alloc(0))
  const wrapped = derValues(signed?.content ?? Buffer.alloc(0)).find(({ tag }) => tag === TAG.extensions)
  const extensions = wrapped === undefined ? [] : derValues(derValues(wrapped.content)[0]?.content ?? Buffer.alloc(0))
  let pathLength: number | undefined
  const unknownCritical: string[] = []
  for (const extension of extensions) {
    const parts = derValues(extension.content)
    const id = objectIdentifier(contentOf(parts, TAG.oid) ?? Buffer.alloc(0))
    const isCritical = (contentOf(parts, TAG.boolean)?.[0] ?? 0) !== 0
    if (isCritical && !UNDERSTOOD.has(id)) unknownCritical.push(id)
    if (id === BASIC_CONSTRAINTS) pathLength = readPathLength(contentOf(parts, TAG.octets))
  }
  return { pathLength, unknownCritical }
}

function readPathLength(basicConstraints: Buffer | undefined): number | undefined {
  const [sequence] = derValues(basicConstraints ?? Buffer.alloc(0))
  const length = contentOf(derValues(sequence?.content ?? Buffer.alloc(0)), TAG.integer)
  if (length === undefined) return undefined
  if (length.length === 0 || length.length > 4) throw new Error('no path length')
  return length.readIntBE(0, length.length)
}

function contentOf(values: readonly DerValue[], tag: number): Buffer | undefined {
  return values.find((value) => value.tag === tag)?.content
}
