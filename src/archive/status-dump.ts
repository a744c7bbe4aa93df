import { archiveError } from './archive-problem.ts'
import { type Instant, isInstant } from './instant.ts'
import { jsonFields, jsonMapKeys, JsonReader } from './json-reader.ts'

/**
 * Fields of `status.dump` (the CRI's ContainerStatus) and `status` (containerd's own), written by
 * containerd 2.1 and later.
 */
export interface StatusDump {
  id?: string
  containerName?: string
  attempt?: number
  createdAt?: Instant
  startedAt?: Instant
  imageRef?: string
  imageId?: string
  readonly labels: ReadonlyMap<string, string>
}

/** Parses `status.dump`. Throws a ProblemError if an engine did not write it. */
export function readStatusDump(bytes: Buffer): StatusDump {
  const labels = new Map<string, string>()
  const status: StatusDump = { labels }
  const reader = new JsonReader(bytes, 'status.dump')
  reader.readDocument(STATUS, (key) => {
    switch (key) {
      case 'metadata':
        return readMetadata(reader, status)
      case 'labels':
        return reader.readObject(LABELS, (label) => {
          const value = reader.readText()
          if (value !== undefined) labels.set(label, value)
        })
      case 'created_at':
        return setTime(status, 'createdAt', { nanos: reader.readInteger(), name: 'status.dump' })
      case 'started_at':
        return setTime(status, 'startedAt', { nanos: reader.readInteger(), name: 'status.dump' })
      case 'image_ref':
        return setText(status, 'imageRef', reader.readText())
      case 'image_id':
        return setText(status, 'imageId', reader.readText())
      default:
        return setText(status, 'id', reader.readText())
    }
  })
  return status
}

/** Parses `status`, which contains only the times of `status.dump`. */
export function readInternalStatus(bytes: Buffer): StatusDump {
  const status: StatusDump = { labels: new Map() }
  const reader = new JsonReader(bytes, 'status')
  reader.readDocument(INTERNAL, (key) => {
    const nanos = reader.readInteger()
    setTime(status, key === 'CreatedAt' ? 'createdAt' : 'startedAt', { nanos, name: 'status' })
  })
  return status
}

/**
 * Parses metadata such as `{"name":"counter","attempt":2}`; CRI-O has the same in an annotation.
 */
export function readMetadata(reader: JsonReader, into: { containerName?: string; attempt?: number }): void {
  reader.readObject(METADATA, (key) => {
    if (key === 'name') {
      const name = reader.readText()
      if (name !== undefined) into.containerName = name
      return
    }
    const attempt = reader.readInteger()
    if (attempt === undefined) return
    if (attempt < 0n || attempt > MAX_ATTEMPT)
      throw archiveError('JsonNumber', 'the number of a restart is out of range')
    into.attempt = Number(attempt)
  })
}

const STATUS = jsonFields('id', 'metadata', 'labels', 'created_at', 'started_at', 'image_ref', 'image_id')
const INTERNAL = jsonFields('CreatedAt', 'StartedAt')
const METADATA = jsonFields('name', 'attempt')
const LABELS = jsonMapKeys(
  'io.kubernetes.container.name',
  'io.kubernetes.pod.name',
  'io.kubernetes.pod.namespace',
  'io.kubernetes.pod.uid',
)
const MAX_ATTEMPT = 0xffff_ffffn

function setText(status: StatusDump, field: 'id' | 'imageRef' | 'imageId', text: string | undefined): void {
  if (text !== undefined) status[field] = text
}

function setTime(
  status: StatusDump,
  field: 'createdAt' | 'startedAt',
  { nanos, name }: { readonly nanos: bigint | undefined; readonly name: string },
): void {
  // 0 means that the event has not happened.
  if (nanos === undefined || nanos === 0n) return
  if (!isInstant(nanos)) throw archiveError('TimeInvalid', `${name}: ${nanos} nanoseconds are no time`)
  status[field] = nanos
}
