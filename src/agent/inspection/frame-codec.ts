import { MAX_FRAME_BYTES } from './reader-limits.ts'

const LENGTH_BYTES = 4

/** Reports invalid frames from the other side, or a frame above the maximum size. */
export class FrameError extends Error {
  constructor(what: string) {
    super(what)
    this.name = 'FrameError'
  }
}

/** Kind of a frame. A frame consists of its length in four bytes, its kind in one byte, and its content. */
export type FrameKind = 'json' | 'bytes'

const KINDS: readonly FrameKind[] = ['json', 'bytes']

export interface Frame {
  readonly kind: FrameKind
  /** Content of the frame, valid until the next frame is requested. */
  readonly content: Buffer
}

/** Encodes a frame. Throws FrameError if the content is too large. */
export function encodeFrame(kind: FrameKind, content: Buffer): Buffer {
  const length = content.length + 1
  if (length > MAX_FRAME_BYTES) throw new FrameError(`a frame of ${length} bytes`)
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + length)
  frame.writeUInt32LE(length, 0)
  frame[LENGTH_BYTES] = KINDS.indexOf(kind)
  content.copy(frame, LENGTH_BYTES + 1)
  return frame
}

export function encodeJson(value: unknown): Buffer {
  return encodeFrame('json', Buffer.from(JSON.stringify(value), 'utf8'))
}

/**
 * Assembles frames from pieces of a stream. Holds at most one frame and checks its length before its content arrives.
 */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0)
  #filled = 0;

  /** Yields the frames that this piece completes. Throws FrameError, after which the decoder must not be used. */
  *add(piece: Buffer): Generator<Frame> {
    let at = 0
    while (at < piece.length) {
      if (this.#filled === 0) {
        const end = frameEnd(piece, at)
        if (end !== undefined && end <= piece.length) {
          yield toFrame(piece.subarray(at + LENGTH_BYTES, end))
          at = end
          continue
        }
      }
      at += this.#keep(piece, at)
      const end = frameEnd(this.#pending.subarray(0, this.#filled), 0)
      if (end === undefined || end > this.#filled) continue
      this.#filled = 0
      yield toFrame(this.#pending.subarray(LENGTH_BYTES, end))
    }
  }

  /** Appends the bytes of the current frame and returns their number. */
  #keep(piece: Buffer, at: number): number {
    const end = frameEnd(this.#pending.subarray(0, this.#filled), 0) ?? LENGTH_BYTES
    if (this.#pending.length < end) {
      const larger = Buffer.allocUnsafeSlow(end)
      this.#pending.copy(larger, 0, 0, this.#filled)
      this.#pending = larger
    }
    const taken = piece.copy(this.#pending, this.#filled, at, Math.min(piece.length, at + end - this.#filled))
    this.#filled += taken
    return taken
  }
}

/** Returns the end of the frame that starts at `at`, or undefined if its length has not arrived yet. */
function frameEnd(bytes: Buffer, at: number): number | undefined {
  if (bytes.length - at < LENGTH_BYTES) return undefined
  const length = bytes.readUInt32LE(at)
  if (length === 0 || length > MAX_FRAME_BYTES) throw new FrameError(`a frame of ${length} bytes`)
  return at + LENGTH_BYTES + length
}

function toFrame(bytes: Buffer): Frame {
  const kind = KINDS[bytes[0] ?? KINDS.length]
  if (kind === undefined) throw new FrameError('a frame of no known kind')
  return { kind, content: bytes.subarray(1) }
}
