import { webcrypto } from 'node:crypto'
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
}

export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
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
    const keys = await newKeys()
    const made = await sign(full, keys, issuer === undefined ? { keys, subject: full.subject } : issuer.#asIssuer())
    const above = issuer === undefined ? '' : made.certificate + issuer.#above
    return new TestAuthority(keys, full.subject, made, above)
  }

  async issue(order: CertificateOrder): Promise<MadeCertificate> {
    const keys = await newKeys()
    const made = await sign({ usages: [CLIENT_AUTH], ...order }, keys, this.#asIssuer())
    return { key: made.key, certificate: made.certificate + this.#above }
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

async function newKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}

async function sign(order: CertificateOrder, keys: CryptoKeyPair, issuer: Issuer): Promise<MadeCertificate> {
  const x509 = await importX509()
  const { usages = [], addresses = [], isAuthority = false, strangeExtension = false } = order
  const made = await x509.X509CertificateGenerator.create(
    {
      subject: order.subject,
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey: issuer.keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: order.notBefore ?? new Date(Date.now() - DAY_MS),
      notAfter: order.notAfter ?? new Date(Date.now() + DAY_MS),
      extensions: [
        new x509.BasicConstraintsExtension(isAuthority, order.pathLength, true),
        ...(usages.length > 0 ? [new x509.ExtendedKeyUsageExtension([...usages])] : []),
        ...(addresses.length > 0
          ? [new x509.SubjectAlternativeNameExtension(addresses.map((value) => ({ type: 'ip', value })))]
          : []),
        ...(strangeExtension ? [new x509.Extension('1.2.3.4.5', true, new Uint8Array([5, 0]))] : []),
      ],
    },
    webcrypto,
  )
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return {
    certificate: `${made.toString('pem')}\n`,
    key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
  }
}
