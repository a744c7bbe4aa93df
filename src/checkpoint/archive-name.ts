import { createHash } from 'node:crypto'
import { PIN_DRAFT_SUFFIX } from './pin-marker.ts'

export interface ArchiveNameParts {
  readonly pod: string
  readonly namespace: string
  readonly container: string
  readonly takenAt: Date
}

/** Longest file name that Linux file systems support. */
const MAX_NAME_BYTES = 255

/** Bytes reserved for the name of the archive's marker. */
const MARKER_BYTES = Buffer.byteLength(PIN_DRAFT_SUFFIX)

/**
 * Formats the name that the kubelet uses: `checkpoint-<pod>_<namespace>-<container>-<RFC 3339,
 * local zone, whole seconds>.tar`. Escapes characters that Kubernetes would not allow. Shortens a
 * pod name that would make the file name too long to `~` and a digest; the kubelet fails there
 * after the dump.
 */
export function formatArchiveName({ pod, namespace, container, takenAt }: ArchiveNameParts): string {
  const rest = `_${harmless(namespace)}-${harmless(container)}-${formatLocalTime(takenAt)}.tar`
  const room = MAX_NAME_BYTES - MARKER_BYTES - Buffer.byteLength('checkpoint-') - Buffer.byteLength(rest)
  const name = `checkpoint-${cut(harmless(pod), Math.max(room, 16))}${rest}`
  return Buffer.byteLength(name) + MARKER_BYTES <= MAX_NAME_BYTES ? name : shortest(pod, namespace, container, takenAt)
}

/**
 * Formats a time as Go's RFC 3339: `2026-05-01T10:11:12+02:00`, or with `Z` if the local zone is
 * UTC.
 */
export function formatLocalTime(time: Date): string {
  const offset = -time.getTimezoneOffset()
  const local = new Date(time.getTime() + offset * 60_000).toISOString().slice(0, 19)
  if (offset === 0) return `${local}Z`
  const minutes = Math.abs(offset)
  return `${local}${offset < 0 ? '-' : '+'}${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`
}

/** The parts of an archive name in the kubelet's format. */
export interface ParsedArchiveName {
  readonly pod: string
  /** Undefined, like `container`, if more than one dash could separate the two. */
  readonly namespace?: string
  readonly container?: string
}

/** Parses a file name; undefined if it is not in the kubelet's format. */
export function parseArchiveName(fileName: string): ParsedArchiveName | undefined {
  const { pod, rest = '' } = KUBELET_NAME.exec(fileName)?.groups ?? {}
  if (pod === undefined || !isSubdomain(pod)) return undefined
  const [namespace = '', container = '', more] = rest.split('-')
  const isCertain = more === undefined && isLabel(namespace) && isLabel(container)
  return { pod, ...(isCertain && { namespace, container }) }
}

/** Checks whether the kubelet would give this name to an archive of this container. */
export function agreesWithName(
  { namespace, pod, container }: { readonly [Part in 'namespace' | 'pod' | 'container']?: string },
  fileName: string,
): boolean {
  if (namespace === undefined || pod === undefined || container === undefined) return false
  if (!isSubdomain(pod) || !isLabel(namespace) || !isLabel(container)) return false
  const beginning = `checkpoint-${pod}_${namespace}-${container}-`
  // The rest must be exactly the time. Otherwise the name belongs to a container with a longer
  // name.
  return fileName.startsWith(beginning) && TIME_AND_SUFFIX.test(fileName.slice(beginning.length))
}

/** RFC 3339 in whole seconds, as the kubelet writes it. */
const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)`
const TIME_AND_SUFFIX = new RegExp(`^${TIME}\\.tar$`)
const KUBELET_NAME = new RegExp(`^checkpoint-(?<pod>[^_]+)_(?<rest>[^_]+)-${TIME}\\.tar$`)

function harmless(name: string): string {
  return name.replaceAll('/', '%2F').replaceAll('\0', '%00')
}

function cut(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text
  let kept = text.slice(0, maxBytes - 9)
  // An unpaired surrogate would be encoded as another character in the file name.
  while (Buffer.byteLength(kept) > maxBytes - 9 || !kept.isWellFormed()) kept = kept.slice(0, -1)
  return `${kept}~${digest(text)}`
}

/** Shortens all three names, for those that Kubernetes would not allow at this length. */
function shortest(pod: string, namespace: string, container: string, takenAt: Date): string {
  const parts = [pod, namespace, container].map((part) => cut(harmless(part), 60))
  return `checkpoint-${parts[0]}_${parts[1]}-${parts[2]}-${formatLocalTime(takenAt)}.tar`
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}

function isLabel(text: string): boolean {
  return text.length <= 63 && /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/.test(text)
}

function isSubdomain(text: string): boolean {
  return text.length <= 253 && text.split('.').every((part) => /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/.test(part))
}
