/** A tar header in which anything can be wrong: each field as text or bytes, as it shall stand there. */
export interface RawHeader {
  readonly name?: string | Uint8Array
  readonly mode?: string
  /** A number is written as Go does; bytes and texts as they are. */
  readonly size?: number | string | Uint8Array
  readonly modified?: number | string | Uint8Array
  readonly type?: string
  readonly linkName?: string
  /** Magic and version, eight bytes. */
  readonly magic?: string
  readonly prefix?: string
  /** `signed` as very old writers added it up; a number is written as it is. */
  readonly checksum?: 'right' | 'signed' | number
}

export const BLOCK = 512
export const END_OF_TAR = Buffer.alloc(2 * BLOCK)
export const USTAR_MAGIC = 'ustar\x0000'
export const GNU_MAGIC = 'ustar  \0'

export function rawHeader(fields: RawHeader): Buffer {
  const header = Buffer.alloc(BLOCK)
  header.set(Buffer.from(fields.name ?? 'file').subarray(0, 100), 0)
  header.write(fields.mode ?? '0000644', 100, 'latin1')
  header.write('0000000', 108, 'latin1')
  header.write('0000000', 116, 'latin1')
  header.set(numberField(fields.size ?? 0), 124)
  header.set(numberField(fields.modified ?? 0), 136)
  header.write(fields.type ?? '0', 156, 'latin1')
  header.write(fields.linkName ?? '', 157, 100, 'utf8')
  header.write(fields.magic ?? USTAR_MAGIC, 257, 'latin1')
  header.write(fields.prefix ?? '', 345, 155, 'utf8')
  header.fill(' ', 148, 156)
  const sum = header.reduce((total, byte) => total + (fields.checksum === 'signed' ? (byte << 24) >> 24 : byte), 0)
  const checksum = typeof fields.checksum === 'number' ? fields.checksum : sum
  header.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

/** A header with its content and the padding behind it. */
export function rawMember(fields: RawHeader, content: string | Uint8Array = ''): Buffer {
  const bytes = Buffer.from(content)
  return Buffer.concat([rawHeader({ size: bytes.length, ...fields }), blocks(bytes)])
}

/** An extended header for the member after it, or for all of them with type `g`. */
export function paxMember(records: Readonly<Record<string, string | Uint8Array>> | Uint8Array, type = 'x'): Buffer {
  const body =
    records instanceof Uint8Array
      ? records
      : Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)))
  return rawMember({ name: 'PaxHeaders.0/file', type }, body)
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
export function paxRecord(key: string, value: string | Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')])
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length += 1
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** A positive number in binary, as GNU tar writes what octal has no room for. */
export function base256(value: bigint, length = 12): Buffer {
  const field = Buffer.alloc(length)
  for (let at = length - 1, rest = BigInt.asUintN(length * 8, value); at >= 0; at -= 1, rest >>= 8n) {
    field[at] = Number(rest & 0xffn)
  }
  field[0] = (field[0] ?? 0) | 0x80
  return field
}

export interface MemberBlocks {
  readonly name: string
  /** Header, content and padding. */
  readonly blocks: Buffer
  readonly content: Buffer
}

/** Takes a plain tar apart, such as one of `buildArchive`. */
export function splitTar(tar: Uint8Array): MemberBlocks[] {
  const bytes = Buffer.from(tar)
  const members: MemberBlocks[] = []
  for (let at = 0; bytes[at] !== 0;) {
    const size = Number.parseInt(bytes.toString('latin1', at + 124, at + 135), 8)
    const end = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK
    const name = bytes.toString('latin1', at, at + 100).replace(/\0.*$/, '')
    members.push({ name, blocks: bytes.subarray(at, end), content: bytes.subarray(at + BLOCK, at + BLOCK + size) })
    at = end
  }
  return members
}

function numberField(value: number | string | Uint8Array): Buffer {
  if (typeof value === 'number') return Buffer.from(`${value.toString(8).padStart(11, '0')}\0`, 'latin1')
  return Buffer.from(typeof value === 'string' ? Buffer.from(value, 'latin1') : value).subarray(0, 12)
}

function blocks(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(Math.ceil(bytes.length / BLOCK) * BLOCK - bytes.length)])
}
