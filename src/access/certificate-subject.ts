import type { X509Certificate } from 'node:crypto'

/**
 * Returns the user and groups that a client certificate names; undefined if it has no common name.
 */
export function subjectOf(certificate: X509Certificate): { user: string; groups: readonly string[] } | undefined {
  // Parsing the `subject` text is not safe: the client chooses its content.
  const subject = certificate.toLegacyObject().subject as unknown as
    | Readonly<Record<string, string | string[]>>
    | undefined
  const user = valuesOf(subject?.['CN']).at(-1)
  if (user === undefined || user === '') return undefined
  return { user, groups: valuesOf(subject?.['O']).filter((group) => group !== '') }
}

function valuesOf(value: string | string[] | undefined): readonly string[] {
  if (value === undefined) return []
  return typeof value === 'string' ? [value] : value
}
