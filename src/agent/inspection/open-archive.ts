import { closeSync, fstatSync } from 'node:fs'
import { openNoFollowSync } from '../../shared/open-no-follow.ts'
import { type ByteSource, descriptorSource } from '../../streams/byte-source.ts'
import { generationOf, inodeOf } from '../../checkpoint/generation.ts'
import { pacedSource } from './paced-source.ts'
import type { FileRequest, ReaderRefusal } from './reader-messages.ts'
import { FREE_WINDOW_LOG } from './reader-limits.ts'

export interface OpenArchive extends Disposable {
  readonly source: ByteSource
}

/** Opens the file without following links and checks that it is the expected one. */
export function openArchive(
  directory: string,
  order: FileRequest,
  mayOpenLargeWindow: boolean,
): OpenArchive | ReaderRefusal {
  const path = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(order.path, 'base64')])
  let descriptor: number
  try {
    descriptor = openNoFollowSync(path)
  } catch (error) {
    const code = codeOf(error)
    return GONE.has(code) ? { kind: 'changed' } : { kind: 'unreadable', code }
  }
  const stat = fstatSync(descriptor, { bigint: true })
  const generation = generationOf(stat)
  const isSame =
    generation === order.generation ||
    (order.mayGrow === true &&
      inodeOf(generation) === inodeOf(order.generation) &&
      Number(stat.size) >= order.sizeBytes)
  if (!stat.isFile() || stat.nlink === 0n || !isSame) {
    closeSync(descriptor)
    return { kind: 'changed' }
  }
  const file = descriptorSource(descriptor, Math.min(order.sizeBytes, Number(stat.size)))
  return {
    source: pacedSource(mayOpenLargeWindow ? file : { ...file, freeWindowLog: FREE_WINDOW_LOG }),
    [Symbol.dispose]: () => {
      closeSync(descriptor)
    },
  }
}

const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ELOOP', 'ENXIO', 'ENOTDIR'])

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'EIO'
}
