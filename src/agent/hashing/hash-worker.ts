import { createHash } from 'node:crypto'
import { closeSync, fstatSync, readSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { openNoFollowSync } from '../../shared/open-no-follow.ts'
import { generationOf } from '../../checkpoint/generation.ts'
import type { HashAnswer, HashRequest } from './hash-order.ts'

// A thread of its own: hashing gigabytes must not hold up an answer. It reads by itself, in order, so the kernel reads
// ahead for it, and one buffer is all the memory it needs.

const BUFFER_BYTES = 1024 * 1024

/** Between looks at whether the file is still the one that was asked for, and at whether to stop. */
const BYTES_BETWEEN_LOOKS = 64 * 1024 * 1024

const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)

/** Shared with the queue: not 0 when the order under way is not wanted any more. */
const stopFlag = new Int32Array(workerData as SharedArrayBuffer)

try {
  // On Linux 0 is this thread alone; the kernel derives the priority of its reads from it.
  setPriority(0, 19)
} catch {
  // Not allowed somewhere: then it competes as everybody else.
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
    // Once its last name is gone, only this descriptor keeps its gigabytes on the disk.
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
