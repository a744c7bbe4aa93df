import { createHash } from 'node:crypto'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { generationTag } from './checkpoint-response.ts'
import type { ContentCoding } from './content-negotiation.ts'

/** The form of the content in a response: its coding and encryption. */
export interface ContentForm {
  readonly coding: ContentCoding | undefined
  readonly recipients: readonly string[]
}

/** The entity tags of one piece of content in one form. */
export interface ContentTags {
  readonly current: string
  /** Evaluates `If-Match`, which may also name the unencoded form of the same content. */
  readonly isMatch: (ifMatch: string) => boolean
  /** Evaluates `If-None-Match`: true if the client already has this content. */
  readonly isKnown: (ifNoneMatch: string) => boolean
  /** Evaluates `If-Range`: true if the client's partial content belongs to this content. */
  readonly isSameForRange: (ifRange: string) => boolean
}

/**
 * Returns the entity tags of content. The archive's generation always identifies it, and its digest does so once known.
 * A download that starts before the digest is known can therefore resume afterwards.
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
    // The tag is weak because each encryption yields different bytes.
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
