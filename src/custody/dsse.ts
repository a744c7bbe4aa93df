import { sign, verify, type KeyObject } from 'node:crypto'
import { z } from 'zod'

/**
 * A signed payload (https://github.com/secure-systems-lab/dsse). The signature covers the payload
 * type too.
 */
export interface DsseEnvelope {
  readonly payloadType: string
  /** Base64. */
  readonly payload: string
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[]
}

export const dsseEnvelope = z.object({
  payloadType: z.string(),
  payload: z.base64(),
  signatures: z.array(z.object({ keyid: z.string(), sig: z.base64() })),
})

export function signEnvelope(
  payloadType: string,
  payload: string,
  key: { readonly id: string; readonly privateKey: KeyObject },
): DsseEnvelope {
  const bytes = Buffer.from(payload)
  const signature = sign(null, preAuthEncoding(payloadType, bytes), key.privateKey)
  return {
    payloadType,
    payload: bytes.toString('base64'),
    signatures: [{ keyid: key.id, sig: signature.toString('base64') }],
  }
}

/** Returns the payload; undefined if this key did not sign it. */
export function openEnvelope(envelope: DsseEnvelope, publicKey: KeyObject): Buffer | undefined {
  const bytes = Buffer.from(envelope.payload, 'base64')
  const signed = preAuthEncoding(envelope.payloadType, bytes)
  const isSigned = envelope.signatures.some(({ sig }) => verify(null, signed, publicKey, Buffer.from(sig, 'base64')))
  return isSigned ? bytes : undefined
}

/** Encodes the signed bytes: `DSSEv1 <length> <type> <length> <payload>`. */
function preAuthEncoding(payloadType: string, payload: Buffer): Buffer {
  const type = Buffer.from(payloadType)
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload])
}
