import { COMMON_MAGIC, IMAGE_MAGIC, type ImageKind, SERVICE_MAGIC } from './image-magic.ts'
import { imageError } from './image-problem.ts'

/**
 * Largest entry accepted. The largest real ones are the memory maps of processes with a million
 * mappings.
 */
export const MAX_ENTRY_BYTES = 64 * 1024 * 1024
/** Entries accepted per image; an empty one takes only four bytes. */
export const MAX_ENTRIES = 1_000_000

/**
 * Reads the entries of an image: protobuf messages, each with its length in front. Checks both
 * magics, because a file name proves nothing. Throws a ProblemError at the first defect.
 */
export function* readImageEntries(bytes: Buffer, kind: ImageKind): Generator<Buffer> {
  let at = headerLength(bytes, kind)
  for (let count = 0; at < bytes.length; count += 1) {
    if (count >= MAX_ENTRIES) throw imageError('ImageTooManyEntries', `${kind}: more than ${MAX_ENTRIES} entries`)
    if (at + 4 > bytes.length) throw imageError('ImageCutOff', `${kind}: it ends within the length of an entry`)
    const size = bytes.readUInt32LE(at)
    at += 4
    if (size > MAX_ENTRY_BYTES) throw imageError('ImageEntryTooLarge', `${kind}: an entry has ${size} bytes`)
    if (size > bytes.length - at) throw imageError('ImageCutOff', `${kind}: it ends within an entry`)
    yield bytes.subarray(at, at + size)
    at += size
  }
}

/** Reads the only entry of an image that has one. */
export function readSingleEntry(bytes: Buffer, kind: ImageKind): Buffer {
  for (const entry of readImageEntries(bytes, kind)) return entry
  throw imageError('ImageEmpty', `${kind}: it has no entry`)
}

/**
 * Returns the length of the magics. The inventory has only its own magic, as all images of the
 * first format did.
 */
function headerLength(bytes: Buffer, kind: ImageKind): number {
  const expected = IMAGE_MAGIC[kind]
  const first = bytes.length >= 4 ? bytes.readUInt32LE(0) : undefined
  if (first === expected && kind !== 'stats') return 4
  const common = kind === 'stats' ? SERVICE_MAGIC : COMMON_MAGIC
  if (first === common && bytes.length >= 8 && bytes.readUInt32LE(4) === expected) return 8
  throw imageError('ImageMagic', `${kind}: it does not begin as such an image does`)
}
