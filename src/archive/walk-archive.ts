import { ProblemError } from '../checkpoint/problem.ts'
import { archiveProblem } from './archive-problem.ts'
import type { ByteSource } from '../streams/byte-source.ts'
import { ByteWindow } from './byte-window.ts'
import { type Compression, detectCompression, MAGIC_BYTES } from './compression.ts'
import { decompressedSource } from './decompression.ts'
import { type TarEnd, type TarVisitor, walkTar } from './tar-members.ts'

export interface ArchiveWalk {
  readonly end: TarEnd
  readonly compression: Compression
}

/** Walks an archive with any supported compression. Throws only if the source is not readable. */
export async function walkArchive(source: ByteSource, visitor: TarVisitor, signal?: AbortSignal): Promise<ArchiveWalk> {
  const window = new ByteWindow(source)
  try {
    const there = await window.load(0, MAGIC_BYTES)
    const compression = detectCompression(window.bytes.subarray(0, there))
    if (compression === 'none') return { compression, end: await walkTar(window, visitor, signal) }
    if (compression === 'gzip' || compression === 'zstd') {
      return { compression, end: await walkCompressed(source, compression, { visitor, signal }) }
    }
    visitor.onProblem(archiveProblem('UnsupportedCompression', `it is packed with ${compression}`))
    return { compression, end: NOWHERE }
  } finally {
    window.close()
  }
}

interface Walker {
  readonly visitor: TarVisitor
  readonly signal: AbortSignal | undefined
}

async function walkCompressed(
  source: ByteSource,
  compression: 'gzip' | 'zstd',
  { visitor, signal }: Walker,
): Promise<TarEnd> {
  const unpacked = decompressedSource(source, compression)
  const window = new ByteWindow(unpacked)
  try {
    const there = await window.load(0, MAGIC_BYTES)
    if (detectCompression(window.bytes.subarray(0, there)) !== 'none') {
      visitor.onProblem(archiveProblem('NestedCompression', 'it is packed more than once'))
      return NOWHERE
    }
    const end = await walkTar(window, visitor, signal)
    if (unpacked.trailingBytes > 0) {
      visitor.onProblem(archiveProblem('TrailingBytes', `${unpacked.trailingBytes} bytes follow the compressed data`))
    }
    return end
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    visitor.onProblem(error.problem)
    return NOWHERE
  } finally {
    unpacked.close?.()
    window.close()
  }
}

const NOWHERE: TarEnd = { members: 0, offset: 0 }
