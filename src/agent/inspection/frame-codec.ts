import { MAX_FRAME_BYTES } from './reader-limits.ts'

const LENGTH_BYTES = 4

/** What the other side sent is no sequence of frames, or a frame is beyond its bound. */
export class FrameError extends Error {
  constructor(what: string) {
    super(what)
    this.name = 'FrameError'
  }
}

/** A frame: the length in four bytes, then a kind in one, then the content. */
export type FrameKind = 'json' | 'bytes'

const KINDS: readonly FrameKind[] = ['json', 'bytes']

export interface Frame {
  readonly kind: FrameKind
  /** Valid until the next frame is asked for. */
  readonly content: Buffer
}

/** Throws a FrameError where the content does not fit. */
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

/** Puts frames together from the pieces in which they come. Holds one frame at most; its length is judged before its bytes come. */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0)
  #filled = 0;

  /** Gives the frames that are complete with this piece. Throws a FrameError; after that it is of no use. */
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

  /** Takes what belongs to the frame that has begun. Gives how much that was. */
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

/** Where the frame that begins here ends; undefined while its length is not there. */
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
