import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { encryptingSink } from '../../../src/agent/content/encrypting-sink.ts'
import { type Seal, sealHere, SealingThreads } from '../../../src/agent/content/sealing-threads.ts'
import { parseAgeRecipient } from '../../../src/encryption/age-recipient.ts'
import { decryptAge } from '../../support/age-decryption.ts'
import { AGE_IDENTITIES, type AgeIdentity, decryptWithAge, hasAgeProgram } from '../../support/age-program.ts'
import { collectingSink } from '../../support/collecting-sink.ts'

const KIB = 1024
const CHUNK = 64 * KIB

const failing: Seal = () => Promise.reject(new Error('the thread has ended'))
const threads = new SealingThreads()
afterAll(() => threads.close())

interface Encryption {
  readonly identities?: readonly AgeIdentity[]
  readonly seal?: Seal
}

async function encrypt(
  pieces: readonly Buffer[],
  { identities = AGE_IDENTITIES.slice(0, 1), seal = threads.seal }: Encryption = {},
): Promise<Buffer> {
  const collected = collectingSink()
  const recipients = identities.map(({ recipient }) => parseAgeRecipient(recipient))
  const sink = encryptingSink(collected, { recipients, seal })
  // As the pump does it: the next piece does not wait for the one before, and buffers are used again.
  const writes = pieces.map((piece) => {
    const used = Buffer.from(piece)
    const written = sink.write(used)
    return written.then(() => used.fill(0xee))
  })
  await Promise.all(writes)
  await sink.end()
  return collected.bytes()
}

const SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 256 * KIB, 256 * KIB + 1, 1024 * KIB + 7]

describe('what is encrypted', () => {
  it.each(SIZES)('is opened as it was: %i bytes', async (size) => {
    const plain = randomBytes(size)
    for (const seal of [sealHere, threads.seal]) {
      const encrypted = await encrypt(size === 0 ? [] : [plain], { seal })
      expect(decryptAge(encrypted, AGE_IDENTITIES[0]?.secret ?? '').equals(plain)).toBe(true)
    }
  })

  it('is opened as it was where two threads share the work', async () => {
    const two = new SealingThreads(2)
    const pieces = Array.from({ length: 40 }, () => randomBytes(256 * KIB))
    const encrypted = await encrypt(pieces, { seal: two.seal })
    await two.close()
    expect(decryptAge(encrypted, AGE_IDENTITIES[0]?.secret ?? '').equals(Buffer.concat(pieces))).toBe(true)
  })

  it('is not ended where it could not be encrypted', async () => {
    const collected = collectingSink()
    const [ada] = AGE_IDENTITIES
    const sink = encryptingSink(collected, { recipients: [parseAgeRecipient(ada?.recipient ?? '')], seal: failing })
    await expect(sink.write(randomBytes(3 * CHUNK))).rejects.toThrow('the thread has ended')
    await expect(sink.write(randomBytes(3 * CHUNK))).rejects.toThrow('the thread has ended')
    await expect(sink.end()).rejects.toThrow('the thread has ended')
    expect(collected.state()).toBe('open')
  })

  it('is not ended where a thread dies', async () => {
    const dying = new SealingThreads(1)
    const collected = collectingSink()
    const [ada] = AGE_IDENTITIES
    const sink = encryptingSink(collected, { recipients: [parseAgeRecipient(ada?.recipient ?? '')], seal: dying.seal })
    const written = sink.write(randomBytes(40 * CHUNK))
    await Promise.all([expect(written).rejects.toThrow('has ended'), dying.close()])
    expect(collected.state()).toBe('open')
  })

  it('is opened as it was, in whatever pieces it came', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3 * CHUNK), { maxLength: 6 }), async (sizes) => {
        const pieces = sizes.filter((size) => size > 0).map((size) => randomBytes(size))
        const opened = decryptAge(await encrypt(pieces), AGE_IDENTITIES[0]?.secret ?? '')
        expect(opened.equals(Buffer.concat(pieces))).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it.each(AGE_IDENTITIES)('is opened by each of its recipients: $recipient', async ({ secret }) => {
    const plain = randomBytes(100_000)
    expect(decryptAge(await encrypt([plain], { identities: AGE_IDENTITIES }), secret).equals(plain)).toBe(true)
  })

  it('is opened by nobody else', async () => {
    const encrypted = await encrypt([randomBytes(10)])
    expect(() => decryptAge(encrypted, AGE_IDENTITIES[1]?.secret ?? '')).toThrow('no identity matched')
  })

  it('is never the same twice', async () => {
    const plain = randomBytes(10)
    expect((await encrypt([plain])).equals(await encrypt([plain]))).toBe(false)
  })
})

// `age` is a package of Debian; CI and the e2e tests have it.
const withAge = hasAgeProgram()
if (!withAge) console.log('Not against the age program: it is not installed (apt-get install age)')

describe.runIf(withAge)('the age program', () => {
  it.each(SIZES)('opens %i bytes', async (size) => {
    const plain = randomBytes(size)
    const encrypted = await encrypt(size === 0 ? [] : [plain])
    expect(decryptWithAge(encrypted, AGE_IDENTITIES[0]?.secret ?? '').equals(plain)).toBe(true)
  })

  it.each(AGE_IDENTITIES)('opens it for each of three recipients: $recipient', async ({ secret }) => {
    const plain = randomBytes(300_000)
    expect(decryptWithAge(await encrypt([plain], { identities: AGE_IDENTITIES }), secret).equals(plain)).toBe(true)
  })

  it('refuses what was cut', async () => {
    const encrypted = await encrypt([randomBytes(3 * CHUNK)])
    const secret = AGE_IDENTITIES[0]?.secret ?? ''
    expect(() => decryptWithAge(encrypted.subarray(0, -(CHUNK + 16)), secret)).toThrow('age: error')
  })
})
