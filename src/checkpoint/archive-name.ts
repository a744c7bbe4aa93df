import { createHash } from 'node:crypto'

export interface ArchiveNameParts {
  readonly pod: string
  readonly namespace: string
  readonly container: string
  readonly takenAt: Date
}

/** File systems take no longer names than this. */
const MAX_NAME_BYTES = 255

/** Room for `.keep.tmp` beside the archive. */
const MARKER_BYTES = 9

/**
 * The kubelet's name: `checkpoint-<pod>_<namespace>-<container>-<RFC 3339, local zone, whole seconds>.tar`.
 * Names that no Kubernetes API server would allow are made harmless; a pod's name that makes the file name too long
 * (where the kubelet fails after the dump) is cut, with `~` and a digest in place of its end.
 */
export function formatArchiveName({ pod, namespace, container, takenAt }: ArchiveNameParts): string {
  const rest = `_${harmless(namespace)}-${harmless(container)}-${formatLocalTime(takenAt)}.tar`
  const room = MAX_NAME_BYTES - MARKER_BYTES - Buffer.byteLength('checkpoint-') - Buffer.byteLength(rest)
  const name = `checkpoint-${cut(harmless(pod), Math.max(room, 16))}${rest}`
  return Buffer.byteLength(name) + MARKER_BYTES <= MAX_NAME_BYTES ? name : shortest(pod, namespace, container, takenAt)
}

/** `2026-05-01T10:11:12+02:00`, or with `Z` where the local zone is UTC: what Go calls RFC 3339. */
export function formatLocalTime(time: Date): string {
  const offset = -time.getTimezoneOffset()
  const local = new Date(time.getTime() + offset * 60_000).toISOString().slice(0, 19)
  if (offset === 0) return `${local}Z`
  const minutes = Math.abs(offset)
  return `${local}${offset < 0 ? '-' : '+'}${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`
}

function harmless(name: string): string {
  return name.replaceAll('/', '%2F').replaceAll('\0', '%00')
}

function cut(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text
  let kept = text.slice(0, maxBytes - 9)
  // Half a pair would be another character in the file's name than in ours.
  while (Buffer.byteLength(kept) > maxBytes - 9 || !kept.isWellFormed()) kept = kept.slice(0, -1)
  return `${kept}~${digest(text)}`
}

/** For names so long that even the pod's cannot make room: Kubernetes allows none. */
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
