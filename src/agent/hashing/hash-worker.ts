import { createHash } from 'node:crypto'
import { closeSync, fstatSync, readSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { openNoFollowSync } from '../../shared/open-no-follow.ts'
import { generationOf } from '../../checkpoint/generation.ts'
import type { HashAnswer, HashRequest } from './hash-order.ts'

// Runs in its own thread so that hashing gigabytes delays no answer. It reads in order, so the kernel reads ahead, and
// one buffer is all the memory it needs.

const BUFFER_BYTES = 1024 * 1024

/** Bytes between checks of the file and of the stop flag. */
const BYTES_BETWEEN_LOOKS = 64 * 1024 * 1024

const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)

/** Shared with the queue. Not 0 if the current request is no longer wanted. */
const stopFlag = new Int32Array(workerData as SharedArrayBuffer)

try {
  // On Linux, 0 means this thread only. The kernel derives the priority of its reads from it.
  setPriority(0, 19)
} catch {
  // If this is not allowed, the thread runs at normal priority.
}

parentPort?.on('message', (order: HashRequest) => {
  parentPort?.postMessage(hash(order))
})

function hash(order: HashRequest): HashAnswer {
  let descriptor: number | undefined
  try {
    descriptor = openNoFollowSync(Buffer.from(order.path))
    return hashDescriptor(descriptor, order)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'EIO'
    return code === 'ENOENT' || code === 'ELOOP' ? { kind: 'changed' } : { kind: 'failed', code }
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

function hashDescriptor(descriptor: number, { generation }: HashRequest): HashAnswer {
  const isStill = () => {
    const stat = fstatSync(descriptor, { bigint: true })
    // A file without a name stays on the disk only as long as it is open here.
    return stat.nlink > 0n && generationOf(stat) === generation
  }
  const digest = createHash('sha256')
  for (let offset = 0, nextLook = 0; ;) {
    if (offset >= nextLook) {
      if (Atomics.load(stopFlag, 0) !== 0) return { kind: 'stopped' }
      if (!isStill()) return { kind: 'changed' }
      nextLook = offset + BYTES_BETWEEN_LOOKS
    }
    const bytesRead = readSync(descriptor, buffer, 0, BUFFER_BYTES, offset)
    if (bytesRead === 0) break
    digest.update(bytesRead === BUFFER_BYTES ? buffer : buffer.subarray(0, bytesRead))
    offset += bytesRead
  }
  return isStill() ? { kind: 'done', sha256: digest.digest('hex') } : { kind: 'changed' }
}
