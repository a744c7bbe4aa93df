import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { errorText, InvalidInputError } from '../shared/errors.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'
import type { ChainEnd } from './custody-entry.ts'
import { EXIT_CODES } from './verdict.ts'
import { verifyCustody, type CustodyReport, type VerifyOptions } from './custody-verify.ts'

export const VERIFY_USAGE = `Usage: checkpoint-agent verify-custody DIR [--head FILE|SEQ:HASH] [--public-key FILE] [--from SEQ:HASH] [--json]

  DIR                 a copy of the folder "custody" of state.directory, or one file of lines from GET /v1/custody/export
  --head FILE         a head that was kept elsewhere: the field "head" of a log line "Custody log head", or the whole line
  --head SEQ:HASH     the same, by its two values
  --public-key FILE   the key (PEM) that you pinned: it must have signed the head. Without it nothing is authenticated
  --from SEQ:HASH     the last entry before the first one here, where older files were moved away
  --json              the report as JSON

Exit codes: 0 authentic: a head that covers every entry is signed by the given key; 3 the chain is intact, and not
authenticated; 1 broken; 2 it could not be verified.
`

/**
 * Runs `checkpoint-agent verify-custody`, which verifies a copy of a custody log without the agent.
 */
export async function runVerifyCommand(
  argv: readonly string[],
): Promise<{ readonly text: string; readonly exitCode: number }> {
  const { values, positionals } = readArguments(argv)
  if (values.help === true) return { text: VERIFY_USAGE, exitCode: 0 }
  const [path, ...others] = positionals
  if (path === undefined || others.length > 0) throw wrongUsage('it takes one folder or file')
  const report = await verify(path, {
    ...headOption(values.head),
    ...(values['public-key'] !== undefined && { publicKey: readText(values['public-key']) }),
    ...(values.from !== undefined && { from: readEnd('--from', values.from) }),
  })
  const text = values.json === true ? `${JSON.stringify(report, null, 2)}\n` : describeReport(path, report)
  return { text, exitCode: EXIT_CODES[report.verdict] }
}

function readArguments(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        head: { type: 'string' },
        'public-key': { type: 'string' },
        from: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw wrongUsage(errorText(error))
  }
}

async function verify(path: string, options: VerifyOptions): Promise<CustodyReport> {
  return await verifyCustody(path, options).catch((error: unknown) => {
    throw new InvalidInputError(`Cannot verify "${path}": ${errorText(error)}`, {
      code: 'InvalidArguments',
      hint: 'See that the folder, the head and the key can be read.',
      cause: error,
    })
  })
}

function headOption(head: string | undefined): Pick<VerifyOptions, 'head' | 'headText'> {
  if (head === undefined) return {}
  const end = parseChainEnd(head)
  return end === undefined ? { headText: readText(head) } : { head: end }
}

/** Parses `SEQ:HASH`; undefined for anything else. */
export function parseChainEnd(text: string): ChainEnd | undefined {
  const [, seq = '', hash = ''] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? []
  return hash === '' ? undefined : { seq: Number(seq), hash }
}

function readEnd(flag: string, text: string): ChainEnd {
  const end = parseChainEnd(text)
  if (end === undefined) throw wrongUsage(`${flag} takes the number of an entry and its hash, as in 17:ab12…`)
  return end
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw wrongUsage(`"${path}" cannot be read: ${errorText(error)}`)
  }
}

function wrongUsage(reason: string): InvalidInputError {
  return new InvalidInputError(`Cannot verify a custody log: ${reason}`, {
    code: 'InvalidArguments',
    hint: 'See checkpoint-agent verify-custody --help.',
  })
}

function describeReport(path: string, report: CustodyReport): string {
  const { first, last, head, problems, problemCount } = report
  const lines = [
    `${path}: ${report.entries} entries in ${report.files} files`,
    ...(first !== undefined && last !== undefined
      ? [`first entry  ${first.seq}`, `last entry   ${last.seq}:${last.hash}`]
      : []),
    head === undefined
      ? 'head         none: nothing here tells whether the end is missing'
      : `head         ${head.seq}:${head.hash}`,
    describeKey(report),
    ...problems.map(({ code, file, line, detail }) => {
      const place = file === undefined ? '' : `${file}${line === undefined ? '' : `:${line}`}: `
      return `${place}${code}: ${detail}`
    }),
    ...(problemCount > problems.length ? [`and ${problemCount - problems.length} more`] : []),
    describeVerdict(report),
  ]
  return `${lines.map(escapeUnreadable).join('\n')}\n`
}

function describeKey({ keyId, foundKeyId }: CustodyReport): string {
  if (keyId !== undefined) return `key          ${keyId} (the given one; it signed the head)`
  if (foundKeyId === undefined) return 'key          none: no signature was checked'
  return `key          none given. The key beside the log signed the head: ${foundKeyId} (compare it with the one you pinned)`
}

function describeVerdict({ verdict, notChecked, last }: CustodyReport): string {
  if (verdict === 'authentic') return `authentic, up to entry ${last?.seq}`
  if (verdict === 'broken') return 'BROKEN'
  return `chain intact, not authenticated: ${notChecked.join('; ')}`
}
