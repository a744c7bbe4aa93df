import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { signEnvelope, type DsseEnvelope } from '../../src/custody/dsse.ts'
import { runVerifyManifestCommand } from '../../src/custody/manifest-command.ts'
import { PREDICATE_TYPE, STATEMENT_TYPE } from '../../src/custody/manifest-statement.ts'
import { loadSigningKey } from '../../src/custody/signing-key.ts'
import { fixtureArchive } from '../archive/real-archives.ts'

const ARCHIVE = fixtureArchive('containerd-2.1-counter')

interface Changes {
  readonly archive?: Buffer
  readonly sizeBytes?: number
  readonly payloadType?: string
  readonly change?: (envelope: DsseEnvelope) => unknown
}

/** A manifest and its archive in files of their own, with the key that signed it and another one. */
function manifestOf({
  archive = ARCHIVE,
  sizeBytes = ARCHIVE.length,
  payloadType = STATEMENT_TYPE,
  change,
}: Changes = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'manifest-verify-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const key = loadSigningKey(join(folder, 'key.pem'))
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'checkpoint-a.tar', digest: { sha256: createHash('sha256').update(ARCHIVE).digest('hex') } }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      checkpoint: {
        id: '9f2c4e5a7b1d3c60',
        sizeBytes,
        identity: { namespace: 'shop', pod: 'web\u001b[2J', container: 'counter', source: 'observed' },
      },
      takenAt: '2026-01-31T12:00:00Z',
      node: { name: 'node-a' },
      custodyHead: { seq: 17, hash: 'ab'.repeat(32) },
      signedAt: '2026-01-31T13:00:00Z',
    },
  }
  const envelope = signEnvelope(payloadType, JSON.stringify(statement), key)
  const files = {
    manifest: join(folder, 'manifest.json'),
    archive: join(folder, 'archive.tar'),
    key: join(folder, 'public-key.pem'),
    otherKey: join(folder, 'other-public-key.pem'),
  }
  const other = loadSigningKey(join(folder, 'other-key.pem'))
  writeFileSync(files.manifest, JSON.stringify(change === undefined ? envelope : change(envelope)))
  writeFileSync(files.archive, archive)
  writeFileSync(files.key, key.publicKey)
  writeFileSync(files.otherKey, other.publicKey)
  return { ...files, keyId: key.id, otherId: other.id }
}

function forged(envelope: DsseEnvelope): DsseEnvelope {
  const payload = Buffer.from(envelope.payload, 'base64').toString().replace('shop', 'shot')
  return { ...envelope, payload: Buffer.from(payload).toString('base64') }
}

describe('checkpoint-agent verify-manifest', () => {
  it('finds an archive authentic whose manifest the given key signed, and says what it is', async () => {
    const { manifest, archive, key, keyId } = manifestOf()
    const { text, exitCode } = await runVerifyManifestCommand([manifest, archive, '--public-key', key])
    expect(exitCode).toBe(0)
    expect(text).toContain('container    shop/web\\x1b[2J/counter (observed by the agent)\n')
    expect(text).toContain(`key          ${keyId} (the given one; it signed the manifest)\n`)
    expect(text).toMatch(/\nauthentic\n$/)
  })

  it('does not say whose it is without a key', async () => {
    const { manifest, archive, keyId } = manifestOf()
    const { text, exitCode } = await runVerifyManifestCommand([manifest, archive])
    expect(exitCode).toBe(3)
    expect(text).toMatch(/\narchive intact, not authenticated: .*\n$/)
    expect(text).not.toContain(keyId)
  })

  it.each<{ what: string; changes: Changes; code: string }>([
    {
      what: 'a changed byte of the archive',
      changes: { archive: ARCHIVE.with(600, 1) as Buffer },
      code: 'DigestDifferent',
    },
    { what: 'a cut archive', changes: { archive: ARCHIVE.subarray(0, 4_096) }, code: 'SizeDifferent' },
    { what: 'another size', changes: { sizeBytes: 1 }, code: 'SizeDifferent' },
    { what: 'a changed statement', changes: { change: forged }, code: 'SignatureWrong' },
    {
      what: 'no signature',
      changes: { change: (envelope) => ({ ...envelope, signatures: [] }) },
      code: 'SignatureWrong',
    },
    { what: 'another kind of payload', changes: { payloadType: 'text/plain' }, code: 'NotAManifest' },
    { what: 'something else', changes: { change: () => [] }, code: 'NotAManifest' },
  ])('is broken by $what', async ({ changes, code }) => {
    const { manifest, archive, key } = manifestOf(changes)
    const { text, exitCode } = await runVerifyManifestCommand([manifest, archive, '--public-key', key, '--json'])
    expect(exitCode).toBe(1)
    const report: unknown = JSON.parse(text)
    expect(report).toMatchObject({ verdict: 'broken' })
    expect((report as { problems: { code: string }[] }).problems.map((problem) => problem.code)).toContain(code)
  })

  it('is broken by another key, and never names that one as the signer', async () => {
    const { manifest, archive, otherKey, otherId } = manifestOf()
    const { text, exitCode } = await runVerifyManifestCommand([manifest, archive, '--public-key', otherKey])
    expect(exitCode).toBe(1)
    expect(text).toMatch(/^What the manifest says, signed by nobody that is known:\n/)
    expect(text).toMatch(/\nSignatureWrong: .*\nBROKEN\n$/)
    expect(text).not.toContain(otherId)
  })

  it.each([[[]], [['a']], [['a', 'b', 'c']], [['--nothing']], [['/nowhere/at/all', '/nowhere']]])(
    'refuses %j with a hint',
    async (argv) => {
      await expect(runVerifyManifestCommand(argv)).rejects.toMatchObject({
        code: 'InvalidArguments',
        hint: expect.any(String) as string,
      })
    },
  )

  it('refuses a key that is none', async () => {
    const { manifest, archive } = manifestOf()
    const asked = runVerifyManifestCommand([manifest, archive, '--public-key', archive])
    await expect(asked).rejects.toMatchObject({ code: 'InvalidArguments' })
  })
})
