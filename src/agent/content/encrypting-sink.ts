import { AGE_CHUNK_BYTES, sealedBytes, startAgeFile } from '../../encryption/age-payload.ts'
import type { AgeRecipient } from '../../encryption/age-recipient.ts'
import type { ByteSink } from '../../streams/byte-sink.ts'
import type { Seal } from './sealing-threads.ts'

export interface EncryptingSinkOptions {
  readonly recipients: readonly AgeRecipient[]
  readonly seal: Seal
}

/** Encrypts written bytes to an age file for these recipients and passes it to `next`. */
export function encryptingSink(next: ByteSink, { recipients, seal }: EncryptingSinkOptions): ByteSink {
  const file = startAgeFile(recipients)
  const slots: Slot[] = []
  /** Bytes that may belong to the last chunk. Never empty once anything was written. */
  const held = Buffer.allocUnsafeSlow(AGE_CHUNK_BYTES)
  let heldBytes = 0
  let chunks = 0
  /**
   * `given` settles once all parts so far were passed to `next` in order, and `gone` once the last of them was written.
   */
  let given: Promise<unknown> = Promise.resolve()
  let gone: Promise<unknown> = Promise.resolve()

  /** Resolves once the previous part was sent, so that one part is sent while the next is encrypted. */
  const give = (sealing: Promise<Buffer>, release: () => void): Promise<void> => {
    const before = gone
    let isGone: Promise<unknown> = Promise.resolve()
    given = Promise.all([given, sealing]).then(([, sealed]) => {
      isGone = next.write(sealed).then(release)
      isGone.catch(() => undefined)
      return undefined
    })
    gone = given.then(() => isGone)
    gone.catch(() => undefined)
    return Promise.all([given, before]).then(() => undefined)
  }

  const sealPart = (plainBytes: number, hasLast: boolean, fill: (plain: Buffer) => void): Promise<void> => {
    const slot = takeSlot(slots, plainBytes)
    const plain = slot.plain.subarray(0, plainBytes)
    fill(plain)
    const order = { payloadKey: file.payloadKey, firstChunk: chunks, plain, hasLast, sealed: slot.sealed }
    chunks += Math.ceil(plainBytes / AGE_CHUNK_BYTES)
    const sealing = seal(order).then((length) => slot.sealed.subarray(0, length))
    return give(sealing, () => slots.push(slot))
  }

  void give(Promise.resolve(file.bytes), () => undefined).catch(() => undefined)

  return {
    write: (piece) => {
      const whole = Math.ceil((heldBytes + piece.length) / AGE_CHUNK_BYTES) - 1
      const fromPiece = whole * AGE_CHUNK_BYTES - heldBytes
      if (whole <= 0) {
        heldBytes += piece.copy(held, heldBytes)
        return Promise.resolve()
      }
      const sealed = sealPart(whole * AGE_CHUNK_BYTES, false, (plain) => {
        held.copy(plain, 0, 0, heldBytes)
        piece.copy(plain, heldBytes, 0, fromPiece)
      })
      heldBytes = piece.copy(held, 0, fromPiece)
      return sealed
    },
    end: async () => {
      await sealPart(heldBytes, true, (plain) => held.copy(plain))
      await gone
      await next.end()
    },
    close: () => next.close(),
  }
}

/** Reusable memory that is shared with the encrypting thread. */
interface Slot {
  readonly plain: Buffer
  readonly sealed: Buffer
}

function takeSlot(slots: Slot[], plainBytes: number): Slot {
  const slot = slots.pop()
  if (slot !== undefined && slot.plain.length >= plainBytes) return slot
  return { plain: sharedBuffer(plainBytes), sealed: sharedBuffer(sealedBytes(plainBytes)) }
}

function sharedBuffer(length: number): Buffer {
  return Buffer.from(new SharedArrayBuffer(length))
}
