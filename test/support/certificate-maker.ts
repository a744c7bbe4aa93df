import { sign as signBytes, webcrypto } from 'node:crypto'
import { importX509 } from '../../src/http/x509-library.ts'

export interface MadeCertificate {
  /** PEM. */
  readonly key: string
  /** PEM, with the intermediates that lead to it behind it. */
  readonly certificate: string
}

export interface CertificateOrder {
  /** As in `CN=ada, O=shop, O=team`. */
  readonly subject: string
  readonly notBefore?: Date
  readonly notAfter?: Date
  /** Object identifiers; without any the extension is left out. Default: clientAuth. */
  readonly usages?: readonly string[]
  readonly addresses?: readonly string[]
  /** An extension that nobody knows, and that demands to be known. */
  readonly strangeExtension?: boolean
  readonly isAuthority?: boolean
  readonly pathLength?: number
  /** Whether certificates may be signed with its key; nothing is said unless given. */
  readonly maySign?: boolean
  /** Which organization the names below it must have. */
  readonly onlyFor?: string
  /** P-256 unless given. */
  readonly key?: 'rsa-1024' | 'rsa-2048'
  /** Of the signature on it. MD5 and SHA-1 need an issuer with an RSA key; SHA-256 unless given. */
  readonly digest?: 'MD5' | 'SHA-1'
}

export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const RSA = { name: 'RSASSA-PKCS1-v1_5', publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }
const DAY_MS = 86_400_000

/** A certificate authority for tests. */
export class TestAuthority implements MadeCertificate {
  readonly #keys: CryptoKeyPair
  readonly #subject: string
  readonly #above: string
  readonly certificate: string
  readonly key: string

  private constructor(keys: CryptoKeyPair, subject: string, made: MadeCertificate, above: string) {
    this.#keys = keys
    this.#subject = subject
    this.#above = above
    this.certificate = made.certificate
    this.key = made.key
  }

  static async make(order: Partial<CertificateOrder> = {}, issuer?: TestAuthority): Promise<TestAuthority> {
    const full = { subject: 'CN=test-ca', usages: [], isAuthority: true, ...order }
    const keys = await newKeys(full)
    const made = await sign(full, keys, issuer === undefined ? { keys, subject: full.subject } : issuer.#asIssuer())
    const above = issuer === undefined ? '' : made.certificate + issuer.#above
    return new TestAuthority(keys, full.subject, made, above)
  }

  async issue(order: CertificateOrder): Promise<MadeCertificate> {
    const keys = await newKeys(order)
    const made = await sign({ usages: [CLIENT_AUTH], ...order }, keys, this.#asIssuer())
    return { key: made.key, certificate: made.certificate + this.#above }
  }

  /** A certificate of `other` on this one's name and key, PEM. */
  async crossSigned(other: TestAuthority, order: Partial<CertificateOrder> = {}): Promise<string> {
    const full = { subject: this.#subject, isAuthority: true, ...order }
    return (await sign(full, this.#keys, other.#asIssuer())).certificate
  }

  #asIssuer(): Issuer {
    return { keys: this.#keys, subject: this.#subject }
  }
}

interface Issuer {
  readonly keys: CryptoKeyPair
  readonly subject: string
}

type CryptoKeyPair = webcrypto.CryptoKeyPair

async function newKeys({ key }: Partial<CertificateOrder>): Promise<CryptoKeyPair> {
  const algorithm = key === undefined ? EC : { ...RSA, modulusLength: Number(key.slice('rsa-'.length)) }
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

async function sign(order: CertificateOrder, keys: CryptoKeyPair, issuer: Issuer): Promise<MadeCertificate> {
  const x509 = await importX509()
  const { usages = [], addresses = [], isAuthority = false, strangeExtension = false } = order
  const made = await x509.X509CertificateGenerator.create(
    {
      subject: order.subject,
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey: await signingKeyOf(issuer, order),
      signingAlgorithm: signingAlgorithmOf(issuer, order),
      notBefore: order.notBefore ?? new Date(Date.now() - DAY_MS),
      notAfter: order.notAfter ?? new Date(Date.now() + DAY_MS),
      extensions: [
        new x509.BasicConstraintsExtension(isAuthority, order.pathLength, true),
        ...(usages.length > 0 ? [new x509.ExtendedKeyUsageExtension([...usages])] : []),
        ...(addresses.length > 0
          ? [new x509.SubjectAlternativeNameExtension(addresses.map((value) => ({ type: 'ip', value })))]
          : []),
        ...(order.maySign === undefined
          ? []
          : [new x509.KeyUsagesExtension(x509.KeyUsageFlags[order.maySign ? 'keyCertSign' : 'cRLSign'], true)]),
        ...(order.onlyFor === undefined
          ? []
          : [
              new x509.Extension(
                '2.5.29.30',
                true,
                nameConstraint(new x509.Name(`O=${order.onlyFor}`).toArrayBuffer()),
              ),
            ]),
        ...(strangeExtension ? [new x509.Extension('1.2.3.4.5', true, new Uint8Array([5, 0]))] : []),
      ],
    },
    webcrypto,
  )
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return {
    certificate: order.digest === 'MD5' ? await signedWithMd5(made.rawData, issuer) : `${made.toString('pem')}\n`,
    key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
  }
}

function signingAlgorithmOf({ keys }: Issuer, { digest }: CertificateOrder) {
  const isRsa = keys.privateKey.algorithm.name === RSA.name
  return isRsa ? { name: RSA.name, hash: digest === undefined ? 'SHA-256' : 'SHA-1' } : EC
}

/** A key of WebCrypto has one digest for good. */
async function signingKeyOf(issuer: Issuer, order: CertificateOrder): Promise<webcrypto.CryptoKey> {
  const { privateKey } = issuer.keys
  if (privateKey.algorithm.name !== RSA.name) return privateKey
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', privateKey)
  return await webcrypto.subtle.importKey('pkcs8', pkcs8, signingAlgorithmOf(issuer, order), true, ['sign'])
}

/** `permittedSubtrees` of one directory name. */
function nameConstraint(name: ArrayBuffer): Uint8Array {
  return [0xa4, 0x30, 0xa0, 0x30].reduce<Buffer>(
    (content, tag) => Buffer.concat([Buffer.from([tag, content.length]), content]),
    Buffer.from(name),
  )
}

/** WebCrypto has no MD5: takes a certificate that is signed with SHA-1, whose name is as long, and signs it anew. */
async function signedWithMd5(sha1: ArrayBuffer, { keys }: Issuer): Promise<string> {
  const bytes = Buffer.from(sha1)
  const [withSha1, withMd5] = ['2a864886f70d010105', '2a864886f70d010104'].map((hex) => Buffer.from(hex, 'hex'))
  if (withSha1 === undefined || withMd5 === undefined) throw new Error('unreachable')
  for (let at = bytes.indexOf(withSha1); at !== -1; at = bytes.indexOf(withSha1)) withMd5.copy(bytes, at)
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  // Both lengths take two bytes here.
  const signed = bytes.subarray(4, 8 + bytes.readUInt16BE(6))
  const signature = signBytes('md5', signed, { key, format: 'der', type: 'pkcs8' })
  signature.copy(bytes, bytes.length - signature.length)
  const base64 = bytes.toString('base64').replaceAll(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`
}
