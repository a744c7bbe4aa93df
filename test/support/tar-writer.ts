import type { ImageFile } from './criu-image-builder.ts'

/** A member as Go's `archive/tar` writes it for the engines: ustar, PAX records only where ustar has no room. */
export interface TarMember extends ImageFile {
  readonly mode: number
  readonly modifiedAt: Date
  /** A name that is not UTF-8 is given here; `name` is then for people. */
  readonly rawName?: Uint8Array
}

export interface Tar {
  readonly sizeBytes: number
  readonly members: readonly PlacedMember[]
  readonly chunks: () => Iterable<Uint8Array>
}

export interface PlacedMember {
  readonly name: string
  /** Of the content; the header is in front of it. */
  readonly offset: number
  readonly sizeBytes: number
}

const BLOCK_BYTES = 512
const END_OF_TAR = Buffer.alloc(2 * BLOCK_BYTES)
const USTAR_SIZE_LIMIT = 8 * 1024 ** 3
const USTAR_NAME_LIMIT = 100

/** Ends with exactly two zero blocks, without padding to a record. */
export function tar(members: readonly TarMember[]): Tar {
  const placed: PlacedMember[] = []
  let offset = 0
  for (const each of members) {
    offset += headerBlocks(each).length
    placed.push({ name: each.name, offset, sizeBytes: each.sizeBytes })
    offset += paddedSize(each.sizeBytes)
  }
  return { sizeBytes: offset + END_OF_TAR.length, members: placed, chunks: () => tarChunks(members) }
}

/** A name that ends with a slash is a folder. */
export function member(
  name: string,
  content: string | Uint8Array,
  options: { mode: number; modifiedAt: Date },
): TarMember {
  const bytes = Buffer.from(content)
  return { ...options, name, sizeBytes: bytes.length, chunks: () => (bytes.length === 0 ? [] : [bytes]) }
}

function* tarChunks(members: readonly TarMember[]): Iterable<Uint8Array> {
  for (const each of members) {
    yield headerBlocks(each)
    yield* each.chunks()
    const padding = paddedSize(each.sizeBytes) - each.sizeBytes
    if (padding > 0) yield Buffer.alloc(padding)
  }
  yield END_OF_TAR
}

function headerBlocks(entry: TarMember): Buffer {
  const name = Buffer.from(entry.rawName ?? Buffer.from(entry.name))
  const needsPath = name.length > USTAR_NAME_LIMIT || name.some((byte) => byte >= 0x80 || byte === 0)
  const needsSize = entry.sizeBytes >= USTAR_SIZE_LIMIT
  const records = [
    ...(needsPath ? [paxRecord('path', name)] : []),
    ...(needsSize ? [paxRecord('size', Buffer.from(String(entry.sizeBytes)))] : []),
  ]
  const asciiName = Buffer.from(name.filter((byte) => byte < 0x80)).subarray(0, USTAR_NAME_LIMIT)
  const own = ustarHeader({
    name: needsPath ? asciiName : name,
    mode: entry.mode,
    sizeBytes: needsSize ? 0 : entry.sizeBytes,
    modifiedSeconds: Math.floor(entry.modifiedAt.getTime() / 1000),
    type: entry.name.endsWith('/') ? '5' : '0',
  })
  if (records.length === 0) return own

  const body = Buffer.concat(records)
  const extended = ustarHeader({
    name: Buffer.concat([Buffer.from('PaxHeaders.0/'), asciiName]).subarray(0, USTAR_NAME_LIMIT),
    mode: 0,
    sizeBytes: body.length,
    modifiedSeconds: 0,
    type: 'x',
  })
  return Buffer.concat([extended, body, Buffer.alloc(paddedSize(body.length) - body.length), own])
}

interface UstarFields {
  readonly name: Uint8Array
  readonly mode: number
  readonly sizeBytes: number
  readonly modifiedSeconds: number
  readonly type: string
}

function ustarHeader({ name, mode, sizeBytes, modifiedSeconds, type }: UstarFields): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES)
  header.set(name, 0)
  header.write(octal(mode, 7), 100, 'latin1')
  header.write(octal(0, 7), 108, 'latin1')
  header.write(octal(0, 7), 116, 'latin1')
  header.write(octal(sizeBytes, 11), 124, 'latin1')
  header.write(octal(modifiedSeconds, 11), 136, 'latin1')
  header.write(type, 156, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  header.write(octal(0, 7), 329, 'latin1')
  header.write(octal(0, 7), 337, 'latin1')
  header.fill(' ', 148, 156)
  const checksum = header.reduce((sum, byte) => sum + byte, 0)
  header.write(`${octal(checksum, 6)}\0 `, 148, 'latin1')
  return header
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')])
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length++
  return Buffer.concat([Buffer.from(String(length)), rest])
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}

function paddedSize(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES
}
