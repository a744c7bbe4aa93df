import { archiveError, quoted } from './archive-problem.ts'
import { type Instant, parseInstant } from './instant.ts'
import { jsonFields, JsonReader } from './json-reader.ts'

/**
 * Fields of `config.dump`: a short summary in containerd and CRI-O, the whole libpod configuration
 * in Podman.
 */
export interface ConfigDump {
  id?: string
  name?: string
  /** Image as the user wrote it (containerd, CRI-O). */
  rootfsImage?: string
  /** A digest (`name@sha256:…`) or an id (`sha256:…`, in CRI-O without the prefix). */
  rootfsImageRef?: string
  rootfsImageName?: string
  /** Podman only. */
  rootfsImageId?: string
  rawImageName?: string
  runtime?: string
  createdAt?: Instant
  checkpointedAt?: Instant
  /** Id of the pod (Podman). */
  pod?: string
  /** True if there are keys that only Podman writes. */
  isLibpod: boolean
}

/** Parses `config.dump`. Throws a ProblemError if an engine did not write it. */
export function readConfigDump(bytes: Buffer): ConfigDump {
  const config: ConfigDump = { isLibpod: false }
  const reader = new JsonReader(bytes, 'config.dump')
  reader.readDocument(FIELDS, (key) => {
    switch (key) {
      case 'spec':
        config.isLibpod = true
        return reader.skipValue()
      case 'staticDir':
        config.isLibpod = true
        return reader.skipValue()
      case 'createdTime':
        return setTime(config, 'createdAt', reader.readText())
      case 'checkpointedTime':
        return setTime(config, 'checkpointedAt', reader.readText())
      default:
        return setText(config, key, reader.readText())
    }
  })
  return config
}

const TEXTS = {
  id: 'id',
  name: 'name',
  rootfsImage: 'rootfsImage',
  rootfsImageRef: 'rootfsImageRef',
  rootfsImageName: 'rootfsImageName',
  rootfsImageID: 'rootfsImageId',
  RawImageName: 'rawImageName',
  runtime: 'runtime',
  pod: 'pod',
} as const satisfies Readonly<Record<string, keyof ConfigDump>>

const FIELDS = jsonFields(...Object.keys(TEXTS), 'spec', 'staticDir', 'createdTime', 'checkpointedTime')

function setText(config: ConfigDump, key: string, text: string | undefined): void {
  if (text !== undefined && isTextKey(key)) config[TEXTS[key]] = text
}

function isTextKey(key: string): key is keyof typeof TEXTS {
  return Object.hasOwn(TEXTS, key)
}

function setTime(config: ConfigDump, field: 'createdAt' | 'checkpointedAt', text: string | undefined): void {
  if (text === undefined) return
  const instant = parseInstant(text)
  if (instant === undefined) throw archiveError('TimeInvalid', `config.dump: ${quoted(text)} is no time`)
  if (instant !== 'unset') config[field] = instant
}
