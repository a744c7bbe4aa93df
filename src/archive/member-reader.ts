import type { ByteSource } from '../streams/byte-source.ts'
import { type Compression, detectCompression, MAGIC_BYTES } from './compression.ts'
import { decompressedSource } from './decompression.ts'
import type { TarMember } from './tar-member.ts'
import { walkArchive } from './walk-archive.ts'

/**
 * Finds the first member with this name, as listed by `listMembers`. Stops reading at its header.
 */
export async function findMember(
  source: ByteSource,
  name: string,
  signal: AbortSignal,
): Promise<TarMember | undefined> {
  let member: TarMember | undefined
  const onMember = (candidate: TarMember) => {
    if (candidate.name !== name) return 0
    member = candidate
    throw new FoundError()
  }
  try {
    await walkArchive(source, { onMember, onProblem: () => undefined }, signal)
  } catch (error) {
    if (!(error instanceof FoundError)) throw error
  }
  return member
}

/** Ends the walk at the requested member. */
class FoundError extends Error {}

/** Detects the compression of the archive by its first bytes. */
export async function readCompression(archive: ByteSource): Promise<Compression> {
  const head = Buffer.alloc(MAGIC_BYTES)
  const there = await archive.read(head, 0, MAGIC_BYTES, 0)
  return detectCompression(head.subarray(0, there))
}

/**
 * Returns the content of a member, with positions that start at 0. In a compressed archive, reading
 * from front to back is fastest.
 */
export async function memberSource(archive: ByteSource, { offset, sizeBytes }: TarMember): Promise<ByteSource> {
  const unpacked = await unpackedSource(archive)
  return {
    sizeBytes,
    freeWindowLog: archive.freeWindowLog,
    read: (into, at, length, position) => {
      const rest = sizeBytes - position
      return rest <= 0 ? 0 : unpacked.read(into, at, Math.min(length, rest), offset + position)
    },
    close: () => unpacked.close?.(),
  }
}

async function unpackedSource(archive: ByteSource): Promise<ByteSource> {
  const compression = await readCompression(archive)
  if (compression !== 'gzip' && compression !== 'zstd') return archive
  return restartingSource(() => decompressedSource(archive, compression))
}

/** Makes a stream seekable: reading backward restarts the stream and reads forward again. */
function restartingSource(open: () => ByteSource): ByteSource {
  let source = open()
  let reached = 0
  return {
    get sizeBytes() {
      return source.sizeBytes
    },
    read: async (into, at, length, position) => {
      if (position < reached) {
        source.close?.()
        source = open()
      }
      reached = position
      const bytesRead = await source.read(into, at, length, position)
      reached = position + bytesRead
      return bytesRead
    },
    close: () => source.close?.(),
  }
}
