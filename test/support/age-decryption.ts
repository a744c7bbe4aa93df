import { createDecipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from 'node:crypto'
import { decodeBech32 } from '../../src/encryption/bech32.ts'

const CHUNK = 64 * 1024 + 16

/** Opens an age file, written from the specification (https://c2sp.org/age) and not from the code under test. */
export function decryptAge(encrypted: Buffer, secret: string): Buffer {
  const macAt = encrypted.indexOf('\n--- ') + 1
  const headerEnd = encrypted.indexOf('\n', macAt) + 1
  const lines = encrypted.toString('latin1', 0, headerEnd).split('\n')
  if (lines[0] !== 'age-encryption.org/v1') throw new Error('not an age file')
  const fileKey = findFileKey(lines, secret)
  const mac = createHmac('sha256', derive(fileKey, Buffer.alloc(0), 'header')).update(encrypted.subarray(0, macAt + 3))
  if (mac.digest('base64').replace(/=+$/, '') !== lines.at(-2)?.slice(4))
    throw new Error('the MAC of the header is wrong')
  const payload = encrypted.subarray(headerEnd)
  return openPayload(payload.subarray(16), derive(fileKey, payload.subarray(0, 16), 'payload'))
}

function findFileKey(lines: readonly string[], secret: string): Buffer {
  const privateBytes = decodeBech32(secret).bytes
  const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), privateBytes])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const own = Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x ?? '', 'base64url')
  for (const [index, line] of lines.entries()) {
    const [, share = ''] = /^-> X25519 (\S{43})$/.exec(line) ?? []
    if (share === '') continue
    const shareBytes = Buffer.from(share, 'base64')
    const publicKey = createPublicKey({
      key: { kty: 'OKP', crv: 'X25519', x: shareBytes.toString('base64url') },
      format: 'jwk',
    })
    const shared = diffieHellman({ privateKey, publicKey })
    const key = derive(shared, Buffer.concat([shareBytes, own]), 'age-encryption.org/v1/X25519')
    try {
      return open(Buffer.from(lines[index + 1] ?? '', 'base64'), key, Buffer.alloc(12))
    } catch {
      // For somebody else.
    }
  }
  throw new Error('no identity matched')
}

function openPayload(payload: Buffer, key: Buffer): Buffer {
  const chunks: Buffer[] = []
  const count = Math.max(1, Math.ceil(payload.length / CHUNK))
  for (let index = 0; index < count; index += 1) {
    const nonce = Buffer.alloc(12)
    nonce.writeUInt32BE(index, 7)
    nonce[11] = index === count - 1 ? 1 : 0
    chunks.push(open(payload.subarray(index * CHUNK, (index + 1) * CHUNK), key, nonce))
  }
  if (count > 1 && chunks.at(-1)?.length === 0) throw new Error('the last chunk is empty')
  return Buffer.concat(chunks)
}

function open(sealed: Buffer, key: Buffer, nonce: Buffer): Buffer {
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}

function derive(secret: Buffer, salt: Buffer, info: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, 32))
}
