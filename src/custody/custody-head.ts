import type { KeyObject } from 'node:crypto'
import { z } from 'zod'
import type { ChainEnd } from './custody-entry.ts'
import { dsseEnvelope, openEnvelope, signEnvelope, type DsseEnvelope } from './dsse.ts'
import type { SigningKey } from './signing-key.ts'

/**
 * The last entry of the log at some time. Entries removed from the end of a chain go unnoticed
 * without such a record.
 */
export interface CustodyHead extends ChainEnd {
  readonly node: string
  readonly time: string
}

const HEAD_TYPE = 'application/vnd.checkpoint-agent.custody-head+json'

const headShape = z.object({
  node: z.string(),
  seq: z.int().nonnegative(),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  time: z.iso.datetime(),
})

export function signHead(head: CustodyHead, key: SigningKey): DsseEnvelope {
  return signEnvelope(HEAD_TYPE, JSON.stringify(head), key)
}

/** Parses a head and checks whether this key signed it; undefined if the text is not a head. */
export function readHead(
  text: string,
  publicKey: KeyObject | undefined,
): { readonly head: CustodyHead; readonly isSigned: boolean } | undefined {
  const envelope = dsseEnvelope.safeParse(envelopeIn(text)).data
  if (envelope?.payloadType !== HEAD_TYPE) return undefined
  const head = headShape.safeParse(parse(Buffer.from(envelope.payload, 'base64').toString())).data
  if (head === undefined) return undefined
  return { head, isSigned: publicKey !== undefined && openEnvelope(envelope, publicKey) !== undefined }
}

/** Accepts the envelope by itself, or the line of the agent's log that contains it. */
function envelopeIn(text: string): unknown {
  const value = parse(text)
  return typeof value === 'object' && value !== null && 'head' in value ? value.head : value
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
