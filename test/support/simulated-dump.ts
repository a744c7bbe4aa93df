import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { constants, type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildArchive, counterProcesses } from './archive-builder.ts'
import type { Personality, RuntimeFailure } from './simulated-personality.ts'
import type { SimulatedContainer } from './simulated-container.ts'
import type { SimulatedPod } from './simulated-pods.ts'
import type { CheckpointScript } from './simulated-runtime-faults.ts'
import type { Tar } from './tar-writer.ts'

/** How the caller went away, if it did. A deadline and a cancel end differently on containerd. */
export type CallerLeft = 'cancelled' | 'deadline'

export interface DumpRequest {
  readonly pod: SimulatedPod
  readonly container: SimulatedContainer
  readonly location: string
  readonly script: CheckpointScript
  readonly personality: Personality
  /** Resolves when the caller gives up; may never. */
  readonly callerLeft: Promise<CallerLeft>
  /** Undefined: the images of a dump are not kept anywhere. */
  readonly storage?: string | undefined
  /** Aborts when the runtime itself dies: everything stays as it is at that moment. */
  readonly runtimeDied: AbortSignal
  readonly dropConnection: () => void
}

/** A dump failed; the failure is what goes over the wire. */
export class DumpError extends Error {
  readonly failure: RuntimeFailure

  constructor(failure: RuntimeFailure) {
    super(failure.details)
    this.failure = failure
  }
}

const DEFAULT_DUMP_MS = 30
const DEFAULT_WIND_DOWN_MS = 50
const END_OF_TAR_BYTES = 1024
const STALE_BYTES = 8192
const LOG_LINES_KEPT = 20

/** Does to the container and the disk what the real runtime does. Resolves when the dump is over, called off or not. */
export async function runDump(request: DumpRequest): Promise<void> {
  const { container } = request
  container.dumpsRunning += 1
  try {
    await (request.personality.engine === 'containerd' ? dumpLikeContainerd(request) : dumpLikeCrio(request))
  } finally {
    container.dumpsRunning -= 1
  }
}

/**
 * Paused while it is dumped, resumed, and only then written to the location. The resume runs on the caller's time: when
 * its deadline has passed, it never happens. Nor does it for a caller who leaves while the pausing is under way: that
 * fails then, though the shim goes on and pauses, and who has not paused does not resume.
 */
async function dumpLikeContainerd(request: DumpRequest): Promise<void> {
  const { container, script, runtimeDied } = request
  const wasPaused = container.task === 'paused'
  const shim = Promise.withResolvers<void>()
  container.occupyShim(shim.promise)
  runtimeDied.addEventListener('abort', () => shim.resolve(), { once: true })
  const leftEarly = script.pauseMs === undefined ? undefined : await callerLeavesWithin(request, script.pauseMs)
  container.pause()
  if (leftEarly !== undefined) {
    shim.resolve()
    return
  }
  const startedAt = Date.now()
  const left = await callerLeavesWithin(request, dumpMs(script))
  if (left !== undefined) {
    await windDown(request, left, Date.now() - startedAt)
    shim.resolve()
    if (left === 'cancelled' && !wasPaused) container.resume()
    return
  }
  shim.resolve()
  if (script.leavesFrozen !== true && !wasPaused) container.resume()
  failIfScripted(request, 'dump')
  await exportFile(request, { stopsWithCaller: script.finishesFileAfterCancel !== true })
  await sleep(script.cleanupMs ?? 0, undefined, { signal: runtimeDied })
}

/** Paused until the file is whole; nothing of it stops because the caller has gone. */
async function dumpLikeCrio(request: DumpRequest): Promise<void> {
  const { container, script, runtimeDied } = request
  await sleep(script.pauseMs ?? 0, undefined, { signal: runtimeDied })
  container.pause()
  const images = rawImages(request)
  images.write()
  if (script.tracedMs !== undefined) {
    container.trace(true)
    await sleep(script.tracedMs, undefined, { signal: runtimeDied })
    container.trace(false)
  }
  const startedAt = Date.now()
  const left = await callerLeavesWithin(request, dumpMs(script))
  if (left !== undefined) await sleep(remainingMs(script, Date.now() - startedAt), undefined, { signal: runtimeDied })
  try {
    failIfScripted(request, 'dump')
    const wasDisturbed = container.takeDisturbance()
    await exportFile(wasDisturbed ? { ...request, script: { ...script, file: 'half' } } : request, {
      stopsWithCaller: false,
    })
    images.remove()
  } finally {
    if (script.leavesFrozen !== true && !runtimeDied.aborted) container.resume()
  }
  await sleep(script.cleanupMs ?? 0, undefined, { signal: runtimeDied })
}

/** CRI-O dumps into the folder of the container; what an export that failed leaves there stays until the next dump. */
function rawImages({ storage, container }: DumpRequest): { readonly write: () => void; readonly remove: () => void } {
  if (storage === undefined) return { write: () => undefined, remove: () => undefined }
  const folder = join(storage, container.id, 'userdata', 'checkpoint')
  return {
    write: () => {
      rmSync(folder, { recursive: true, force: true })
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      writeFileSync(join(folder, 'pages-1.img'), Buffer.alloc(container.memoryBytes))
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** What the shim still does for a caller that is gone. After a deadline the freeze comes back, and stays. */
async function windDown(request: DumpRequest, left: CallerLeft, elapsedMs: number): Promise<void> {
  const { container, script, runtimeDied } = request
  const remaining = remainingMs(script, elapsedMs)
  if (left === 'cancelled') {
    await sleep(remaining, undefined, { signal: runtimeDied })
    return
  }
  container.freeze(false) // CRIU has the tasks in a tracing stop; the cgroup reads as thawed
  await sleep(script.freezesAfterMs ?? remaining, undefined, { signal: runtimeDied })
  container.freeze(true)
}

/** Undefined: for ever. */
function dumpMs(script: CheckpointScript): number | undefined {
  return script.hangs === true ? undefined : (script.dumpMs ?? DEFAULT_DUMP_MS)
}

function remainingMs(script: CheckpointScript, elapsedMs: number): number {
  if (script.windDownMs !== undefined) return script.windDownMs
  return script.hangs === true ? DEFAULT_WIND_DOWN_MS : Math.max(0, (script.dumpMs ?? DEFAULT_DUMP_MS) - elapsedMs)
}

/** Undefined when the caller stayed for the whole time. */
async function callerLeavesWithin(request: DumpRequest, ms: number | undefined): Promise<CallerLeft | undefined> {
  if (request.script.dropsConnectionIn === 'dump') request.dropConnection()
  const stop = new AbortController()
  const signal = AbortSignal.any([stop.signal, request.runtimeDied])
  // A dump that hangs for ever is one that nobody waits a day for.
  const time = sleep(ms ?? 24 * 3_600_000, undefined, { signal })
  try {
    return await Promise.race([request.callerLeft, time])
  } finally {
    stop.abort()
    await time.catch(() => undefined)
  }
}

function failIfScripted(request: DumpRequest, phase: NonNullable<CheckpointScript['failsAt']>): void {
  const { script, personality, container, location } = request
  if (script.failure === undefined || (script.failsAt ?? 'dump') !== phase) return
  throw new DumpError(script.failure({ personality, containerId: container.id, location }))
}

/** Opened as both runtimes do: no folder is made, nothing is truncated, and what was written stays when it fails. */
async function exportFile(request: DumpRequest, { stopsWithCaller }: { stopsWithCaller: boolean }): Promise<void> {
  const { script, personality, container, location } = request
  if (script.file === 'none') return
  const archive = archiveOf(request)
  try {
    await using file = await open(location, constants.O_RDWR | constants.O_CREAT, 0o600)
    await writeArchive(file, archive, request, stopsWithCaller)
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error
    throw new DumpError(personality.exportFailed(container.id, goErrorText(error, location)))
  }
  failIfScripted(request, 'export')
}

async function writeArchive(
  file: FileHandle,
  archive: Tar,
  request: DumpRequest,
  stopsWithCaller: boolean,
): Promise<void> {
  const { script, runtimeDied } = request
  let hasLeft = false
  void request.callerLeft.then(() => (hasLeft = true))
  const limit = { half: Math.floor(archive.sizeBytes / 2), 'without-end': archive.sizeBytes - END_OF_TAR_BYTES }
  const endAt = script.file === 'half' || script.file === 'without-end' ? limit[script.file] : archive.sizeBytes
  const startedAt = Date.now()
  let written = 0
  for (const chunk of archive.chunks()) {
    const piece = chunk.subarray(0, endAt - written)
    await file.write(piece, 0, piece.length, written)
    written += piece.length
    if (script.exportBytesPerSecond !== undefined) {
      const dueMs = (written / script.exportBytesPerSecond) * 1000
      await sleep(Math.max(0, dueMs - (Date.now() - startedAt)), undefined, { signal: runtimeDied })
    }
    runtimeDied.throwIfAborted()
    if (script.dropsConnectionIn === 'export') request.dropConnection()
    if ((hasLeft && stopsWithCaller) || written >= endAt) break
  }
  if (script.file === 'stale-tail') await file.write(Buffer.alloc(STALE_BYTES, 'stale'), 0, STALE_BYTES, written)
}

function archiveOf({ pod, container, personality }: DumpRequest): Tar {
  const { count } = container
  return buildArchive({
    engine: personality.engine,
    namespace: pod.namespace.toString(),
    pod: pod.name.toString(),
    podUid: pod.uid.toString(),
    container: container.name.toString(),
    containerId: container.id,
    sandboxId: pod.id,
    attempt: container.attempt,
    image: container.image.toString(),
    processes: counterProcesses(container.memoryBytes),
    createdAt: container.createdAt,
    startedAt: container.createdAt,
    checkpointedAt: new Date(),
    logLines: Array.from({ length: Math.min(count, LOG_LINES_KEPT) }, (_, line) => `tick ${line + 1}`),
    changedFiles: new Map([['tmp/count', `${count}\n`]]),
  })
}

const GO_ERROR_TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  EISDIR: 'is a directory',
  ENOTDIR: 'not a directory',
}

function goErrorText(error: Error & { code: unknown }, location: string): string {
  const call = 'syscall' in error ? String(error.syscall) : 'open'
  return `${call} ${location}: ${GO_ERROR_TEXTS[String(error.code)] ?? error.message}`
}
