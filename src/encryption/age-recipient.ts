import { createPublicKey, type KeyObject } from 'node:crypto'
import { cutFromMiddle } from '../shared/cut-text.ts'
import { InvalidInputError } from '../shared/errors.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import { Bech32Error, decodeBech32 } from './bech32.ts'

/** A recipient that can decrypt with its age identity, given by its X25519 public key. */
export interface AgeRecipient {
  /** Text form `age1…`, in lowercase. */
  readonly text: string
  readonly publicKey: KeyObject
  readonly publicBytes: Buffer
}

const PREFIX = 'age'
const KEY_BYTES = 32
const MAX_SHOWN_BYTES = 100

/**
 * Parses a recipient. Throws InvalidInputError (`InvalidRecipient`) that quotes the text and
 * explains its mistake.
 */
export function parseAgeRecipient(text: string): AgeRecipient {
  const reason = recipientProblem(text)
  if (reason !== undefined) {
    const shown = cutFromMiddle(escapeUnreadable(text), MAX_SHOWN_BYTES)
    throw new InvalidInputError(`Cannot encrypt to "${shown}": ${reason}`, {
      code: 'InvalidRecipient',
      hint: 'Give the public key that age-keygen prints: "age1" and 58 more characters.',
    })
  }
  const publicBytes = decodeBech32(text).bytes
  const x = publicBytes.toString('base64url')
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' })
  return { text: text.toLowerCase(), publicKey, publicBytes }
}

/** Explains why the text is not a recipient; undefined if it is one. */
export function recipientProblem(text: string): string | undefined {
  if (/^age-secret-key-1/i.test(text)) return 'it is a secret key; the recipient is its public half'
  if (text.startsWith('ssh-')) return 'it is an SSH key; only age keys are supported'
  try {
    const { prefix, bytes } = decodeBech32(text)
    if (prefix !== PREFIX) return `it is of the kind "${escapeUnreadable(prefix)}"; only "age" is supported`
    if (bytes.length !== KEY_BYTES) return `its key has ${bytes.length} bytes, not ${KEY_BYTES}`
    return SMALL_ORDER.has(bytes.toString('hex')) ? 'its key is one that keeps nothing secret' : undefined
  } catch (error) {
    if (error instanceof Bech32Error) return error.message
    throw error
  }
}

/**
 * Points of small order on Curve25519. With one of them the shared secret would be zero, and known
 * to everyone.
 */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
])
