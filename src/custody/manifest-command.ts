import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { errorText, InvalidInputError } from '../shared/errors.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import type { ManifestStatement } from './manifest-statement.ts'
import { verifyManifest, type ManifestReport } from './manifest-verify.ts'
import { EXIT_CODES } from './verdict.ts'

export const VERIFY_MANIFEST_USAGE = `Usage: checkpoint-agent verify-manifest FILE ARCHIVE [--public-key FILE] [--json]

  FILE                the manifest: the answer of GET /v1/checkpoints/{id}/manifest
  ARCHIVE             the archive it came with
  --public-key FILE   the key (PEM) that you pinned: it must have signed the manifest. Without it nothing is authenticated
  --json              the report as JSON

Exit codes: 0 authentic: the given key signed the manifest, and size and digest of the archive are those in it; 3 the
archive is the one in the manifest, and nobody knows whose that is; 1 broken; 2 it could not be verified.
`

/**
 * Runs `checkpoint-agent verify-manifest`, which compares an archive with its manifest without the
 * agent.
 */
export async function runVerifyManifestCommand(
  argv: readonly string[],
): Promise<{ readonly text: string; readonly exitCode: number }> {
  const { values, positionals } = readArguments(argv)
  if (values.help === true) return { text: VERIFY_MANIFEST_USAGE, exitCode: 0 }
  const [manifest, archive, ...others] = positionals
  if (manifest === undefined || archive === undefined || others.length > 0) {
    throw wrongUsage('it takes a manifest and an archive')
  }
  const report = await verify(manifest, archive, values['public-key'])
  const text = values.json === true ? `${JSON.stringify(report, null, 2)}\n` : describeReport(report)
  return { text, exitCode: EXIT_CODES[report.verdict] }
}

function readArguments(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        'public-key': { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw wrongUsage(errorText(error))
  }
}

async function verify(manifest: string, archive: string, keyFile: string | undefined): Promise<ManifestReport> {
  try {
    const key = keyFile === undefined ? {} : { publicKey: readFileSync(keyFile, 'utf8') }
    return await verifyManifest(manifest, archive, key)
  } catch (error) {
    throw new InvalidInputError(`Cannot verify "${manifest}": ${errorText(error)}`, {
      code: 'InvalidArguments',
      hint: 'See that the manifest, the archive and the key can be read.',
      cause: error,
    })
  }
}

function wrongUsage(reason: string): InvalidInputError {
  return new InvalidInputError(`Cannot verify a manifest: ${reason}`, {
    code: 'InvalidArguments',
    hint: 'See checkpoint-agent verify-manifest --help.',
  })
}

function describeReport({ verdict, problems, keyId, statement, archive }: ManifestReport): string {
  const lines = [
    ...(statement === undefined ? [] : describeStatement(statement, keyId !== undefined)),
    `archive      ${archive.sizeBytes} bytes, sha256 ${archive.sha256}`,
    keyId === undefined
      ? 'key          none: no signature was accepted'
      : `key          ${keyId} (the given one; it signed the manifest)`,
    ...problems.map(({ code, detail }) => `${code}: ${detail}`),
    VERDICT_TEXTS[verdict],
  ]
  return `${lines.map(escapeUnreadable).join('\n')}\n`
}

const VERDICT_TEXTS = {
  authentic: 'authentic',
  broken: 'BROKEN',
  'not-authenticated':
    'archive intact, not authenticated: no key was given: with --public-key, the signature is checked against it',
} as const

function describeStatement(statement: ManifestStatement, isSigned: boolean): readonly string[] {
  const { checkpointId, fileName, identity, node, takenAt, signedAt, custodyHead } = statement
  const { namespace = '?', pod = '?', container = '?', podUid, containerId, source = 'unknown' } = identity
  return [
    ...(isSigned ? [] : ['What the manifest says, signed by nobody that is known:']),
    `checkpoint   ${checkpointId}, ${fileName}`,
    `container    ${namespace}/${pod}/${container} (${source === 'observed' ? 'observed by the agent' : `by its ${source}: a claim`})`,
    ...(podUid === undefined ? [] : [`pod uid      ${podUid}`]),
    ...(containerId === undefined ? [] : [`container id ${containerId}`]),
    `taken        ${takenAt ?? 'unknown'}`,
    `node         ${node}`,
    `signed       ${signedAt ?? 'unknown'}`,
    ...(custodyHead === undefined ? [] : [`custody head ${custodyHead.seq}:${custodyHead.hash}`]),
  ]
}
