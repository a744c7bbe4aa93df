import type { ByteSource } from './byte-source.ts'
import { takeShare } from './buffer-budget.ts'
import type { ByteSink } from './byte-sink.ts'

export interface PumpRequest {
  readonly source: ByteSource
  readonly first: number
  /** Exclusive end position. */
  readonly end: number
  readonly sink: ByteSink
  /** Throws if the file no longer holds the promised bytes. */
  readonly assertSame: () => void
  /**
   * True if the bytes pass through encryption or compression, which gain nothing from large pieces
   * and multiply their memory.
   */
  readonly isConverted?: boolean
  /** Called with the number of bytes in each piece that the sink has taken. */
  readonly onProgress?: (bytes: number) => void
}

/** Buffers per transfer: the next one is filled while the others are being sent. */
const BUFFERS = 3

/**
 * Piece sizes. Large pieces are fast, but hundreds of slow readers must not hold one each. A reader
 * gets them only after taking many bytes quickly; the first bytes prove nothing, because they fit
 * into the connection's buffers.
 */
const LARGE_PIECE = 1024 * 1024
const LARGE_CONVERTED_PIECE = 256 * 1024
const PROVEN_BYTES = 16 * 1024 * 1024
const QUICK_BYTES_PER_MS = 100_000
const SLOW_MS = 1000

const BYTES_BETWEEN_LOOKS = 16 * 1024 * 1024
const MILLIS_BETWEEN_LOOKS = 1000

/**
 * Copies bytes from a source to a sink in constant memory, as fast as the sink accepts them. Sends
 * the last piece only after checking that the source is unchanged. Rejects without ending the sink.
 */
export async function pumpBytes(order: PumpRequest): Promise<void> {
  const share = takeShare(BUFFERS)
  try {
    await pump(order, Math.min(share.pieceBytes, order.end - order.first))
  } finally {
    share.free()
  }
}

async function pump(order: PumpRequest, smallPiece: number): Promise<void> {
  const { source, first, end, sink, assertSame, isConverted = false, onProgress } = order
  const largePiece = isConverted ? LARGE_CONVERTED_PIECE : LARGE_PIECE
  const slots: Slot[] = []
  const begunMs = performance.now()
  const looks = { nextAt: first + BYTES_BETWEEN_LOOKS, nextMs: begunMs + MILLIS_BETWEEN_LOOKS }
  let position = first
  for (let turn = 0; position < end; turn = (turn + 1) % BUFFERS) {
    const slot = (slots[turn] ??= newSlot(smallPiece))
    await slot.written
    const hasTaken = position - first
    const isQuick = hasTaken > PROVEN_BYTES && hasTaken / (performance.now() - begunMs) > QUICK_BYTES_PER_MS
    const buffer = fit(slot, isQuick && slot.tookMs < SLOW_MS ? largePiece : smallPiece)
    const reading = source.read(buffer, 0, Math.min(buffer.length, end - position), position)
    const bytesRead = typeof reading === 'number' ? reading : await reading
    if (bytesRead === 0) throw new SourceEndedError()
    position += bytesRead
    if (position === end || position >= looks.nextAt || performance.now() >= looks.nextMs) {
      assertSame()
      looks.nextAt = position + BYTES_BETWEEN_LOOKS
      looks.nextMs = performance.now() + MILLIS_BETWEEN_LOOKS
    }
    slot.written = send(slot, sink, bytesRead).then(() => onProgress?.(bytesRead))
    // This buffer may be reused only after another one has failed.
    slot.written.catch(() => undefined)
  }
  await Promise.all(slots.map(({ written }) => written))
}

interface Slot {
  buffer: Buffer
  written: Promise<void>
  /** Time that sending the last piece took. */
  tookMs: number
}

function newSlot(bytes: number): Slot {
  return { buffer: Buffer.allocUnsafeSlow(bytes), written: Promise.resolve(), tookMs: 0 }
}

/** Returns the slot's buffer, resized if necessary. */
function fit(slot: Slot, bytes: number): Buffer {
  if (slot.buffer.length !== bytes) slot.buffer = Buffer.allocUnsafeSlow(bytes)
  return slot.buffer
}

async function send(slot: Slot, sink: ByteSink, bytes: number): Promise<void> {
  const begunMs = performance.now()
  await sink.write(slot.buffer.subarray(0, bytes))
  slot.tookMs = performance.now() - begunMs
}

/** Reports that the source has fewer bytes than promised. */
export class SourceEndedError extends Error {
  constructor() {
    super('the content ends before its size')
    this.name = 'SourceEndedError'
  }
}
