import type { ImageDirectory } from './image-directory.ts'
import { imageError } from './image-problem.ts'
import { readSingleEntry } from './image-reader.ts'
import { COMPRESSION_VERSION, readPageCompression, type PageCompression } from './page-compression.ts'
import { ProtobufReader } from './protobuf-reader.ts'

/** Facts about the whole dump from `inventory.img`. It does not contain CRIU's version. */
export interface Inventory {
  readonly imageVersion: number
  /** Run id, which CRIU's log contains as well. Written since CRIU 4.1. */
  readonly runId?: string
  /** True if only memory was written and the processes continued. */
  readonly isPreDump: boolean
  readonly pageCompression: PageCompression
}

/** Reads `inventory.img`. Throws a ProblemError if it is missing or CRIU did not write it. */
export function readInventory(images: ImageDirectory): Inventory {
  const bytes = images.read('inventory.img')
  if (bytes === undefined) throw imageError('NoInventory', 'inventory.img is missing')
  const reader = new ProtobufReader(readSingleEntry(bytes, 'inventory'), 'inventory')
  let imageVersion: number | undefined
  let runId: string | undefined
  let isPreDump = false
  let mode: number | undefined
  let blockBytes: number | undefined
  while (reader.next()) {
    if (reader.field === IMAGE_VERSION) imageVersion = reader.uint32()
    else if (reader.field === DUMP_UPTIME) isPreDump = true
    else if (reader.field === RUN_ID) runId = readRunId(reader.bytes())
    else if (reader.field === COMPRESS) mode = reader.uint32()
    else if (reader.field === COMPRESS_BLOCK_SIZE) blockBytes = reader.uint32()
  }
  if (imageVersion === undefined) throw imageError('FieldMissing', 'inventory: the version of the images is missing')
  if (imageVersion < 1 || imageVersion > NEWEST_VERSION) {
    throw imageError('ImageVersion', `inventory: images of version ${imageVersion}`)
  }
  const pageCompression = readPageCompression({ imageVersion, mode, blockBytes })
  return { imageVersion, isPreDump, pageCompression, ...(runId !== undefined && { runId }) }
}

const IMAGE_VERSION = 1
const DUMP_UPTIME = 8
const RUN_ID = 13
const COMPRESS = 15
const COMPRESS_BLOCK_SIZE = 16
const NEWEST_VERSION = COMPRESSION_VERSION

function readRunId(bytes: Buffer | undefined): string | undefined {
  const text = bytes?.toString('latin1', 0, 64) ?? ''
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text : undefined
}
