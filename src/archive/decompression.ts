import { Readable, type Transform } from 'node:stream'
import { constants, crc32, createInflateRaw, createZstdDecompress } from 'node:zlib'
import {
  FREE_FRAMES,
  MAX_COMPRESSION_RATIO,
  MAX_DECOMPRESSED_BYTES,
  MAX_ZSTD_WINDOW_LOG,
  MIN_FRAME_BYTES,
  RATIO_FREE_BYTES,
} from './archive-limits.ts'
import { archiveError } from './archive-problem.ts'
import type { ByteSource } from '../streams/byte-source.ts'
import { detectCompression, isSkippableFrame } from './compression.ts'
import { findGzipBody, GZIP_TRAILER_BYTES } from './gzip-member.ts'

const CHUNK_BYTES = 64 * 1024
const OUTPUT_BYTES = 256 * 1024
const HEAD_BYTES = 64 * 1024

export interface DecompressedSource extends ByteSource {
  /**
   * Bytes after the last member or frame that belong to neither; known once the end has been read.
   */
  readonly trailingBytes: number
}

/** Reports that decompression needs more memory than granted; not a defect of the archive. */
export class LargeWindowError extends Error {
  constructor() {
    super('its zstd window is larger than what may be taken without asking')
    this.name = 'LargeWindowError'
  }
}

/**
 * Decompresses a gzip or zstd file from front to back in constant memory. Throws a ProblemError for
 * invalid input.
 */
export function decompressedSource(compressed: ByteSource, kind: 'gzip' | 'zstd'): DecompressedSource {
  return new ForwardSource(compressed, kind)
}

class ForwardSource implements DecompressedSource {
  sizeBytes: number | undefined
  trailingBytes = 0
  readonly #compressed: ByteSource
  readonly #output: AsyncGenerator<Buffer, void>
  /** The current piece of output, and its position. */
  #chunk: Buffer = Buffer.alloc(0)
  #chunkStart = 0
  #consumed = 0

  constructor(compressed: ByteSource, kind: 'gzip' | 'zstd') {
    this.#compressed = compressed
    this.#output = kind === 'gzip' ? this.#gunzip() : this.#unzstd()
  }

  get freeWindowLog(): number | undefined {
    return this.#compressed.freeWindowLog
  }

  async read(into: Buffer, at: number, length: number, position: number): Promise<number> {
    while (position >= this.#chunkStart + this.#chunk.length) {
      if (this.sizeBytes !== undefined) return 0
      this.#chunkStart += this.#chunk.length
      const next = await this.#output.next()
      this.#chunk = next.done === true ? Buffer.alloc(0) : next.value
      if (next.done === true) this.sizeBytes = this.#chunkStart
      this.#refuseBomb()
    }
    const from = position - this.#chunkStart
    return this.#chunk.copy(into, at, from, from + length)
  }

  close(): void {
    this.#output.return().catch(() => undefined)
  }

  #refuseBomb(): void {
    const output = this.#chunkStart + this.#chunk.length
    if (output > MAX_DECOMPRESSED_BYTES) {
      throw archiveError('CompressionBomb', `it unpacks to more than ${MAX_DECOMPRESSED_BYTES} bytes`)
    }
    if (output > RATIO_FREE_BYTES && output > MAX_COMPRESSION_RATIO * Math.max(this.#consumed, CHUNK_BYTES)) {
      throw archiveError('CompressionBomb', `${this.#consumed} bytes unpack to more than ${output}`)
    }
  }

  #assertFrames(count: number): void {
    const output = this.#chunkStart + this.#chunk.length
    if (count <= FREE_FRAMES + output / MIN_FRAME_BYTES) return
    throw archiveError('CompressionBomb', `it has ${count} compressed parts with next to nothing in them`)
  }

  async *#gunzip(): AsyncGenerator<Buffer, void> {
    let position = 0
    for (let member = 0; ; member += 1) {
      this.#assertFrames(member)
      const head = await this.#readAt(position, HEAD_BYTES)
      if (head.length === 0 && member > 0) return
      if (member > 0 && detectCompression(head) !== 'gzip') {
        this.#setTrailing(position)
        return
      }
      const body = position + findGzipBody(head)
      const sum = { crc: 0, length: 0 }
      for await (const chunk of this.#inflate(createInflateRaw({ chunkSize: OUTPUT_BYTES }), body)) {
        sum.crc = crc32(chunk, sum.crc)
        sum.length = (sum.length + chunk.length) % 2 ** 32
        yield chunk
      }
      const trailer = await this.#readAt(this.#consumed, GZIP_TRAILER_BYTES)
      if (trailer.length < GZIP_TRAILER_BYTES)
        throw archiveError('CompressedCutOff', 'the end of the gzip data is missing')
      if (trailer.readUInt32LE(0) !== sum.crc || trailer.readUInt32LE(4) !== sum.length) {
        throw archiveError('CompressedDamaged', 'the check sum of the gzip data is wrong')
      }
      position = this.#consumed + GZIP_TRAILER_BYTES
      this.#consumed = position
    }
  }

  async *#unzstd(): AsyncGenerator<Buffer, void> {
    const windowLog = Math.min(MAX_ZSTD_WINDOW_LOG, this.freeWindowLog ?? Infinity)
    const params = { [constants.ZSTD_d_windowLogMax]: windowLog }
    let position = 0
    for (let frame = 0; ; frame += 1) {
      this.#assertFrames(frame)
      const head = await this.#readAt(position, 8)
      if (head.length === 0 && frame > 0) return
      if (isSkippableFrame(head)) {
        if (head.length < 8) throw archiveError('CompressedCutOff', 'the zstd data ends within a frame')
        position += 8 + head.readUInt32LE(4)
        const { sizeBytes } = this.#compressed
        if (sizeBytes !== undefined && position > sizeBytes) {
          throw archiveError('CompressedCutOff', 'the zstd data ends within a frame')
        }
        continue
      }
      if (frame > 0 && detectCompression(head) !== 'zstd') {
        this.#setTrailing(position)
        return
      }
      yield* this.#inflate(createZstdDecompress({ chunkSize: OUTPUT_BYTES, params }), position)
      position = this.#consumed
    }
  }

  /**
   * Decompresses one member or frame. Node.js's own decoders stop after the first zstd frame and do
   * not report where the data ends before trailing garbage.
   */
  async *#inflate(
    decoder: Transform & { readonly bytesWritten: number },
    position: number,
  ): AsyncGenerator<Buffer, void> {
    const input = Readable.from(this.#chunksFrom(position), { objectMode: false, highWaterMark: CHUNK_BYTES })
    input.once('error', (error) => decoder.destroy(error))
    input.pipe(decoder)
    try {
      for await (const chunk of decoder) {
        this.#consumed = position + decoder.bytesWritten
        yield chunk as Buffer
      }
      this.#consumed = position + decoder.bytesWritten
    } catch (error) {
      throw this.#explain(error)
    } finally {
      input.destroy()
      decoder.destroy()
    }
  }

  async *#chunksFrom(position: number): AsyncGenerator<Buffer, void> {
    for (let at = position; ;) {
      const chunk = await this.#readAt(at, CHUNK_BYTES)
      if (chunk.length === 0) return
      at += chunk.length
      yield chunk
    }
  }

  async #readAt(position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(length)
    let filled = 0
    while (filled < length) {
      const bytesRead = await this.#compressed.read(bytes, filled, length - filled, position + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return bytes.subarray(0, filled)
  }

  #explain(error: unknown): unknown {
    const isGrantedLess = this.freeWindowLog !== undefined && this.freeWindowLog < MAX_ZSTD_WINDOW_LOG
    return isGrantedLess && codeOf(error) === WINDOW_TOO_LARGE ? new LargeWindowError() : explain(error)
  }

  #setTrailing(position: number): void {
    this.trailingBytes = Math.max(0, (this.#compressed.sizeBytes ?? position) - position)
  }
}

function explain(error: unknown): unknown {
  const code = codeOf(error)
  if (code === 'Z_BUF_ERROR') return archiveError('CompressedCutOff', 'the compressed data ends too early')
  if (code === WINDOW_TOO_LARGE) {
    return archiveError('CompressionWindow', `its zstd window is larger than 2^${MAX_ZSTD_WINDOW_LOG} bytes`)
  }
  if (code.startsWith('Z_') || code.startsWith('ZSTD_')) {
    return archiveError('CompressedDamaged', 'the compressed data is damaged')
  }
  return error
}

const WINDOW_TOO_LARGE = 'ZSTD_error_frameParameter_windowTooLarge'

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
