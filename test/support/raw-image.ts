/** Bytes of CRIU images in which anything can be wrong. */

const COMMON_MAGIC = 0x54564319

/** The magic in front of the type (`undefined` for none), or bytes that stand where an entry should. */
export type ImagePart = Uint8Array | { readonly common: number | undefined } | { readonly rest: Uint8Array }

export function imageOf(magic: number, ...parts: readonly ImagePart[]): Buffer {
  let common: number | undefined = COMMON_MAGIC
  const body: Buffer[] = []
  for (const part of parts) {
    if (part instanceof Uint8Array) body.push(word(part.length), Buffer.from(part))
    else if ('rest' in part) body.push(Buffer.from(part.rest))
    else common = part.common
  }
  return Buffer.concat([...(common === undefined ? [] : [word(common)]), word(magic), ...body])
}

export function messageOf(...fields: readonly Uint8Array[]): Buffer {
  return Buffer.concat(fields)
}

export function varintField(number: number, value: number | bigint): Buffer {
  return Buffer.from([...varint(BigInt(number) << 3n), ...varint(BigInt(value))])
}

/** A text, or a message within a message. */
export function field(number: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([...varint((BigInt(number) << 3n) | 2n), ...varint(BigInt(value.length))]), value])
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function varint(value: bigint): number[] {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return [...bytes, Number(rest)]
}
