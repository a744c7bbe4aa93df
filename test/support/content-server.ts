import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { Admission } from '../../src/agent/admission/admission.ts'
import type { PlaceLimits, PlaceTimes } from '../../src/agent/admission/places.ts'
import { lookAtArchive } from '../../src/agent/inventory/single-look.ts'
import { Contents, type ContentsOptions } from '../../src/agent/content/contents.ts'
import type { ContentIntent, ContentOutcome, ContentRecorder } from '../../src/agent/content/content-recorder.ts'
import type { ArchiveReader } from '../../src/agent/inspection/archive-reader.ts'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { OPEN_TO_ALL } from '../../src/access/access.ts'
import { createApp } from '../../src/http/app.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { httpServices } from '../http/http-services.ts'
import { inProcessReader } from './in-process-reader.ts'

export interface ContentServerOptions {
  /** The archive. */
  readonly bytes: Uint8Array
  readonly fileName?: string
  readonly limits?: Partial<PlaceLimits & { readonly maxHoldMs: number }>
  readonly inspection?: PlaceLimits
  readonly times?: Partial<PlaceTimes>
  readonly encryption?: ContentsOptions['encryption']
  readonly recorder?: Partial<ContentRecorder>
  /** Over one that reads in the test's own process. */
  readonly reader?: Partial<ArchiveReader>
  /** Over what is read from the file; by default it is `ready`, with its digest. */
  readonly checkpoint?: Partial<Checkpoint>
}

/** One archive in a folder, and the API in front of it. */
export interface ContentServer {
  readonly port: number
  readonly folder: string
  /** Of the archive. */
  readonly path: string
  readonly contents: Contents
  readonly admission: Admission
  readonly intents: readonly ContentIntent[]
  readonly outcomes: readonly ContentOutcome[]
  /** The row of the index. */
  checkpoint: Checkpoint
  url(below: string): string
}

export async function serveContent(options: ContentServerOptions): Promise<ContentServer> {
  const folder = mkdtempSync(join(tmpdir(), 'content-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const fileName = options.fileName ?? 'checkpoint-web-0_shop-counter-2026-01-31T12:00:00Z.tar'
  const path = join(folder, fileName)
  writeFileSync(path, options.bytes, { mode: 0o600 })
  const intents: ContentIntent[] = []
  const outcomes: ContentOutcome[] = []
  const limits = { concurrency: 8, perUser: 8, maxHoldMs: 60_000, ...options.limits }
  const { inspection = { concurrency: 8, perUser: 8 }, times = {} } = options
  const admission = new Admission({ content: limits, inspection, times })
  const reader = inProcessReader(folder)
  const contents = new Contents({
    directory: folder,
    reader: { ...reader, ...options.reader },
    admission,
    maxHoldMs: limits.maxHoldMs,
    encryption: options.encryption ?? { isRequired: false, recipients: [] },
    recorder: {
      begin: async (intent) => {
        intents.push(intent)
        await options.recorder?.begin?.(intent)
      },
      end: async (outcome) => {
        outcomes.push(outcome)
        await options.recorder?.end?.(outcome)
      },
    },
    logger: silentLogger,
  })
  const look = await lookAtArchive(Buffer.from(fileName), {
    directory: folder,
    permissions: 'report',
    reader,
    now: new Date(),
  })
  if (look === undefined) throw new Error('the archive is gone')
  const served = {
    folder,
    path,
    contents,
    admission,
    intents,
    outcomes,
    checkpoint: {
      ...look.checkpoint,
      state: 'ready' as const,
      sha256: createHash('sha256').update(options.bytes).digest('hex'),
      ...options.checkpoint,
    },
  }
  const services = { ...httpServices({ checkpoints: { get: () => served.checkpoint } }), contents }
  const app = createApp(services, { logger: silentLogger, nodeName: 'node-a', access: OPEN_TO_ALL })
  const server = createServer(app)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await contents.close()
  })
  const { port } = server.address() as AddressInfo
  return Object.assign(served, {
    port,
    url: (below: string) => `http://127.0.0.1:${port}/v1/checkpoints/${served.checkpoint.id}${below}`,
  })
}

/** The checkpoint without its digest. */
export function withoutDigest(checkpoint: Checkpoint): Checkpoint {
  const { sha256: _, ...rest } = checkpoint
  return rest
}
