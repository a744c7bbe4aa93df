import { imageError } from './image-problem.ts'

/** Numbers accepted in one packed field, which needs few bytes for many values. */
export const MAX_PACKED_VALUES = 1_000_000

/**
 * Reads one protobuf message field by field, without a schema: `next` advances to the next field,
 * and the caller reads the fields it knows. Rejects fields beyond the message, numbers longer than
 * ten bytes, groups and unknown wire types.
 */
export class ProtobufReader {
  /** Number of the current field. */
  field = 0
  readonly #bytes: Buffer
  readonly #name: string
  #at = 0
  #wireType = 0
  #low = 0
  #high = 0
  #start = 0
  #end = 0

  /** Creates a reader; `name` prefixes every problem. */
  constructor(bytes: Buffer, name: string) {
    this.#bytes = bytes
    this.#name = name
  }

  next(): boolean {
    if (this.#at >= this.#bytes.length) return false
    this.#varint()
    const wireType = this.#low & 7
    this.field = this.#high * 0x2000_0000 + (this.#low >>> 3)
    if (this.field === 0 || this.field > MAX_FIELD) throw this.#invalid('a field has no valid number')
    this.#wireType = wireType
    if (wireType === VARINT) this.#varint()
    else if (wireType === LENGTH) this.#skip(this.#length())
    else if (wireType === FIXED64) this.#skip(8)
    else if (wireType === FIXED32) this.#skip(4)
    else throw this.#invalid(`a field is of wire type ${wireType}`)
    return true
  }

  /** Reads a 32-bit number; undefined if the field has another type. */
  uint32(): number | undefined {
    return this.#wireType === VARINT ? this.#low >>> 0 : undefined
  }

  /** Reads a 64-bit count or size. Throws if it exceeds 2^53. */
  count(): number | undefined {
    if (this.#wireType !== VARINT) return undefined
    if (this.#high > 0x1f_ffff) throw imageError('NumberTooLarge', `${this.#name}: field ${this.field} is beyond 2^53`)
    return this.#high * 0x1_0000_0000 + (this.#low >>> 0)
  }

  /** Returns the bytes of a text or of an embedded message. */
  bytes(): Buffer | undefined {
    return this.#wireType === LENGTH ? this.#bytes.subarray(this.#start, this.#end) : undefined
  }

  /** Counts the numbers in the field: one, or all that are packed into it. */
  valueCount(): number {
    if (this.#wireType !== LENGTH) return 1
    let count = 0
    for (let at = this.#start; at < this.#end; at += 1) if ((this.#bytes[at] ?? 0) < 0x80) count += 1
    if (count > MAX_PACKED_VALUES) {
      throw imageError('ProtobufTooManyValues', `${this.#name}: field ${this.field} has ${count} values`)
    }
    return count
  }

  #length(): number {
    this.#varint()
    if (this.#high !== 0) throw this.#invalid('a field is longer than its message')
    return this.#low >>> 0
  }

  #skip(length: number): void {
    if (length > this.#bytes.length - this.#at) throw this.#invalid('a field is longer than its message')
    this.#start = this.#at
    this.#end = this.#at + length
    this.#at = this.#end
  }

  /** Reads a number into `#low` and `#high`, 32 bits each. */
  #varint(): void {
    let low = 0
    let high = 0
    for (let count = 0; count < MAX_VARINT_BYTES; count += 1) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) throw this.#invalid('it ends within a number')
      this.#at += 1
      const bits = byte & 0x7f
      const shift = count * 7
      if (shift < 28) low |= bits << shift
      else if (shift === 28) {
        low |= bits << 28
        high = bits >>> 4
      } else high |= bits << (shift - 32)
      if (byte < 0x80) {
        this.#low = low
        this.#high = high >>> 0
        return
      }
    }
    throw this.#invalid('a number has more than ten bytes')
  }

  #invalid(what: string) {
    return imageError('ProtobufInvalid', `${this.#name}: ${what}`)
  }
}

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIXED32 = 5
const MAX_VARINT_BYTES = 10
const MAX_FIELD = 0x1fff_ffff
