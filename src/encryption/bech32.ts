const LETTERS = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3] as const
const CHECKSUM_LETTERS = 6

/** A decoded Bech32 text: the lowercase prefix before the last "1", and the bytes after it. */
export interface Bech32 {
  readonly prefix: string
  readonly bytes: Buffer
}

/**
 * Decodes Bech32 (BIP 173, without its limit of 90 characters). Throws a Bech32Error that explains
 * the mistake.
 */
export function decodeBech32(text: string): Bech32 {
  const small = text.toLowerCase()
  if (small !== text && text.toUpperCase() !== text) throw new Bech32Error('it mixes small and capital letters')
  const separator = small.lastIndexOf('1')
  if (separator < 1) throw new Bech32Error('it has no "1" between its kind and its data')
  const prefix = small.slice(0, separator)
  const values = Array.from(small.slice(separator + 1), (letter) => {
    const value = LETTERS.indexOf(letter)
    if (value < 0) throw new Bech32Error('it holds a character that no such text has')
    return value
  })
  if (values.length < CHECKSUM_LETTERS) throw new Bech32Error('it is too short')
  if (polymod([...expandPrefix(prefix), ...values]) !== 1) {
    throw new Bech32Error('its check sum is wrong: a character was lost or mistyped')
  }
  return { prefix, bytes: packBits(values.slice(0, -CHECKSUM_LETTERS)) }
}

export class Bech32Error extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'Bech32Error'
  }
}

function expandPrefix(prefix: string): number[] {
  const codes = [...Buffer.from(prefix)]
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)]
}

function polymod(values: readonly number[]): number {
  let sum = 1
  for (const value of values) {
    const top = sum >>> 25
    sum = ((sum & 0x1ffffff) << 5) ^ value
    for (const [bit, term] of GENERATOR.entries()) if (((top >>> bit) & 1) === 1) sum ^= term
  }
  return sum
}

/**
 * Converts groups of five bits to bytes. The remaining bits must be fewer than one group, and zero.
 */
function packBits(values: readonly number[]): Buffer {
  const bytes: number[] = []
  let bits = 0
  let count = 0
  for (const value of values) {
    bits = ((bits << 5) | value) & 0xfff
    count += 5
    if (count >= 8) {
      count -= 8
      bytes.push((bits >> count) & 0xff)
    }
  }
  if (count >= 5 || (bits & ((1 << count) - 1)) !== 0) throw new Bech32Error('its last character is wrong')
  return Buffer.from(bytes)
}
