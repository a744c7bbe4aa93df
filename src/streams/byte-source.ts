import { readSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'

/** Reads bytes at any position. A decompressed stream supports this only from front to back. */
export interface ByteSource {
  /** Undefined until the end of a stream has been reached. */
  readonly sizeBytes: number | undefined
  /**
   * Largest zstd window, as a logarithm, that may be decompressed without a permit; a larger one
   * raises LargeWindowError. If absent, only the limit for all archives applies.
   */
  readonly freeWindowLog?: number | undefined
  /**
   * Reads up to `length` bytes to `into[at]`; returns 0 only at the end. May return the number
   * synchronously.
   */
  readonly read: (into: Buffer, at: number, length: number, position: number) => number | Promise<number>
  /** Releases the resources of reading. The owner of the file closes the file itself. */
  readonly close?: () => void
}

/** Reads an open file up to its size at fstat; bytes appended later are not read. */
export function fileSource(file: FileHandle, sizeBytes: number): ByteSource {
  return {
    sizeBytes,
    read: async (into, at, length, position) => {
      const { bytesRead } = await file.read(into, at, length, position)
      return bytesRead
    },
  }
}

/** Reads an open file synchronously, for worker threads: small files take a third of the time. */
export function descriptorSource(descriptor: number, sizeBytes: number): ByteSource {
  return { sizeBytes, read: (into, at, length, position) => readSync(descriptor, into, at, length, position) }
}

/** Returns a part of another source, with positions that start at 0. */
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

/** Reads bytes that are already in memory. */
export function bufferSource(bytes: Uint8Array): ByteSource {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    sizeBytes: buffer.length,
    read: (into, at, length, position) => buffer.copy(into, at, position, position + length),
  }
}
