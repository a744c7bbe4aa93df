import type { X509Certificate } from 'node:crypto'

/** The user and the groups that a client certificate names; undefined without a name. */
export function subjectOf(certificate: X509Certificate): { user: string; groups: readonly string[] } | undefined {
  // The `subject` text would have to be taken apart again, and its authors choose what stands in it.
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
