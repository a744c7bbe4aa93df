import { createCipheriv, createHmac, diffieHellman, generateKeyPairSync, hkdfSync } from 'node:crypto'
import type { AgeRecipient } from './age-recipient.ts'

/** Format version 1 of age (https://c2sp.org/age). */
const VERSION_LINE = 'age-encryption.org/v1'
const X25519_INFO = 'age-encryption.org/v1/X25519'

const KEY_BYTES = 32
const TAG_BYTES = 16
const ZERO_NONCE = Buffer.alloc(12)

/**
 * Writes the header of an age file: the file key, wrapped for each recipient, and a MAC over the
 * whole header.
 */
export function writeAgeHeader(fileKey: Buffer, recipients: readonly AgeRecipient[]): Buffer {
  const stanzas = recipients.map((recipient) => wrapFileKey(fileKey, recipient))
  const signed = `${VERSION_LINE}\n${stanzas.join('')}---`
  const mac = createHmac('sha256', deriveKey(fileKey, { salt: Buffer.alloc(0), info: 'header' })).update(signed)
  return Buffer.from(`${signed} ${unpadded(mac.digest())}\n`)
}

export function deriveKey(
  secret: Buffer,
  { salt, info }: { readonly salt: Uint8Array; readonly info: string },
): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, KEY_BYTES))
}

function wrapFileKey(fileKey: Buffer, recipient: AgeRecipient): string {
  const ephemeral = generateKeyPairSync('x25519')
  const share = Buffer.from(ephemeral.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url')
  const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey: recipient.publicKey })
  const salt = Buffer.concat([share, recipient.publicBytes])
  const cipher = createCipheriv('chacha20-poly1305', deriveKey(shared, { salt, info: X25519_INFO }), ZERO_NONCE, {
    authTagLength: TAG_BYTES,
  })
  const wrapped = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()])
  return `-> X25519 ${unpadded(share)}\n${unpadded(wrapped)}\n`
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
