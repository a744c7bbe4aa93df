import { readSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'

/** Bytes at any position. A decompressed stream is one too, as long as it is read from front to back. */
export interface ByteSource {
  /** Undefined while the end of a stream has not been seen. */
  readonly sizeBytes: number | undefined
  /** Whoever unpacks this throws a LargeWindowError where zstd wants a larger window than this. Absent: only the limit for all archives counts. */
  readonly freeWindowLog?: number | undefined
  /** Reads up to `length` bytes to `into[at]`; 0 only at the end. May give the number itself where it need not wait. */
  readonly read: (into: Buffer, at: number, length: number, position: number) => number | Promise<number>
  /** Lets go of what reading took; the file itself belongs to who opened it. */
  readonly close?: () => void
}

/** A file that the caller opened, and measured with fstat: what grows meanwhile is not read. */
export function fileSource(file: FileHandle, sizeBytes: number): ByteSource {
  return {
    sizeBytes,
    read: async (into, at, length, position) => {
      const { bytesRead } = await file.read(into, at, length, position)
      return bytesRead
    },
  }
}

/** The same without waiting, for a worker thread: a third of the time for a small file. */
export function descriptorSource(descriptor: number, sizeBytes: number): ByteSource {
  return { sizeBytes, read: (into, at, length, position) => readSync(descriptor, into, at, length, position) }
}

/** A part of another source, from its own beginning. */
export function sliceOf(
  source: ByteSource,
  { offset, sizeBytes }: { readonly offset: number; readonly sizeBytes: number },
): ByteSource {
  return {
    sizeBytes,
    read: (into, at, length, position) => {
      const rest = sizeBytes - position
      return rest <= 0 ? 0 : source.read(into, at, Math.min(length, rest), offset + position)
    },
    close: () => source.close?.(),
  }
}

/** Bytes that are in memory already. */
export function bufferSource(bytes: Uint8Array): ByteSource {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    sizeBytes: buffer.length,
    read: (into, at, length, position) => buffer.copy(into, at, position, position + length),
  }
}
