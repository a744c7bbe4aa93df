import { parseDocument } from 'yaml'
import { z } from 'zod'
import { InvalidInputError } from '../shared/errors.ts'

export const TOKEN_PERMISSIONS = [
  'list',
  'get',
  'create',
  'update',
  'delete',
  'content',
  'retention',
  'sweep',
  'custody',
  'metrics',
] as const

export type TokenPermission = (typeof TOKEN_PERMISSIONS)[number]

/** One user of the token file. */
export interface TokenUser {
  readonly name: string
  readonly groups: readonly string[]
  /** SHA-256 of the token, in lowercase hexadecimal. */
  readonly tokenSha256: string
  /**
   * Namespaces that the user may access. `*` stands for all of them and for archives that belong to
   * none.
   */
  readonly namespaces: readonly string[]
  readonly permissions: readonly TokenPermission[]
}

const name = z
  .string()
  .min(1, { error: 'must not be empty' })
  .max(253, { error: 'must be at most 253 characters' })
  .refine((text) => !text.startsWith('system:'), { error: 'must not begin with "system:"' })

const userSchema = z.strictObject({
  name,
  groups: z.array(name).default([]),
  tokenSha256: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/, { error: 'must be the SHA-256 of the token, 64 hexadecimal digits' })
    .toLowerCase(),
  namespaces: z.array(
    z.string().regex(/^(?:\*|[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$/, { error: 'must be a namespace or "*"' }),
  ),
  permissions: z.array(z.enum(TOKEN_PERMISSIONS, { error: `must be one of ${TOKEN_PERMISSIONS.join(', ')}` })),
})

const fileSchema = z.strictObject({ users: z.array(userSchema).default([]) })

/** SHA-256 of an empty token, the result of an unset variable when the file was written. */
const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** Parses a token file. Throws InvalidInputError that names every mistake, but no digests. */
export function parseTokenFile(text: string, path: string): TokenUser[] {
  const document = parseDocument(text)
  const [mistake] = document.errors
  if (mistake !== undefined) throw invalid(path, [`it is no YAML: ${mistake.message.split('\n', 1)[0] ?? ''}`])
  const parsed = fileSchema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {})
  if (!parsed.success) throw invalid(path, parsed.error.issues.map(describe))
  const { users } = parsed.data
  const seen = new Set([EMPTY_SHA256])
  const mistakes = users.flatMap(({ tokenSha256 }, at) => {
    if (seen.has(tokenSha256)) {
      const isEmpty = tokenSha256 === EMPTY_SHA256
      return [`users.${String(at)}.tokenSha256 is that of ${isEmpty ? 'an empty token' : 'another user'}`]
    }
    seen.add(tokenSha256)
    return []
  })
  if (mistakes.length > 0) throw invalid(path, mistakes)
  return users
}

function describe({ path, message, code, ...issue }: z.core.$ZodIssue): string {
  const place = path.join('.')
  if (code === 'unrecognized_keys' && 'keys' in issue) {
    return `${place === '' ? 'it' : place} has unknown fields: ${issue.keys.join(', ')}`
  }
  return `${place === '' ? 'it' : place} ${code === 'invalid_type' ? `must be ${String('expected' in issue ? issue.expected : '')}` : message}`
}

function invalid(path: string, mistakes: readonly string[]): InvalidInputError {
  return new InvalidInputError(`Cannot use the file of tokens "${path}": ${mistakes.join('; ')}`, {
    code: 'InvalidTokensFile',
    hint: 'docs/concepts/access.md shows what it looks like.',
  })
}
