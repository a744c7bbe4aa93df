import { createHash } from 'node:crypto'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { generationTag } from './checkpoint-response.ts'
import type { ContentCoding } from './content-negotiation.ts'

/** How content goes out, where that is not as it stands in the archive. */
export interface ContentForm {
  readonly coding: ContentCoding | undefined
  readonly recipients: readonly string[]
}

/** The entity tags of one piece of content in one form. */
export interface ContentTags {
  readonly current: string
  /** Whether `If-Match` lets this through: it may also name the same content in its plain form. */
  readonly isMatch: (ifMatch: string) => boolean
  /** Whether `If-None-Match` names it: the caller has it already. */
  readonly isKnown: (ifNoneMatch: string) => boolean
  /** Whether `If-Range` names it: what the caller has is the beginning of this. */
  readonly isSameForRange: (ifRange: string) => boolean
}

/**
 * The digest of the archive names it once it is known, and its generation always does: a download that began while the
 * digest was being made can go on afterwards.
 */
export function contentTags(
  { sha256, generation }: Pick<Checkpoint, 'sha256' | 'generation'>,
  { coding, recipients }: ContentForm,
  part = '',
): ContentTags {
  const names = [...(sha256 === undefined ? [] : [sha256]), generationTag({ generation })].map((name) => name + part)
  const plain = names.map((name) => `"${name}"`)
  const own = names.map((name) => `"${name}${suffixOf(coding, recipients)}"`)
  const [current = ''] = own
  return {
    // No two encryptions are the same, byte by byte.
    current: recipients.length > 0 ? `W/${current}` : current,
    isMatch: (header) => header.trim() === '*' || strongTags(header).some((tag) => [...plain, ...own].includes(tag)),
    isKnown: (header) => header.trim() === '*' || weakTags(header).some((tag) => own.includes(tag)),
    isSameForRange: (header) => plain.includes(header.trim()),
  }
}

function suffixOf(coding: ContentCoding | undefined, recipients: readonly string[]): string {
  if (recipients.length === 0) return coding === undefined ? '' : `-${coding}`
  const whom = createHash('sha256').update(recipients.toSorted().join('\n')).digest('hex')
  return `-age-${whom.slice(0, 16)}`
}

function strongTags(header: string): readonly string[] {
  return (header.match(/(?:W\/)?"[^"]*"/g) ?? []).filter((tag) => !tag.startsWith('W/'))
}

function weakTags(header: string): readonly string[] {
  return header.match(/"[^"]*"/g) ?? []
}
