import type { FileHandle } from 'node:fs/promises'
import { type ByteSource, fileSource } from '../streams/byte-source.ts'
import { ByteWindow } from './byte-window.ts'
import { walkTar } from './tar-members.ts'

/**
 * Reports whether a tar file is complete: `members` counts its headers, and a reason names the
 * defect.
 */
export type TarEnd =
  | { readonly isWhole: true; readonly members: number }
  | { readonly isWhole: false; readonly reason: TarEndDefect; readonly offset: number }

export type TarEndDefect =
  | 'empty'
  | 'cut off'
  | 'no end-of-tar marker'
  | 'bytes after the end-of-tar marker'
  | 'not a tar header'
  | 'too many members'

/**
 * Checks that a plain tar file ends correctly and nothing follows. Used for the agent's own
 * captures, because a runtime that reports success proves nothing. A shorter archive written over a
 * longer file keeps the end of that file.
 */
export function findTarEnd(file: FileHandle, sizeBytes: number): Promise<TarEnd> {
  return findSourceEnd(fileSource(file, sizeBytes))
}

/** Checks the end of a tar stream from any source. */
export async function findSourceEnd(source: ByteSource): Promise<TarEnd> {
  let defect: TarEndDefect | undefined
  const window = new ByteWindow(source)
  try {
    const end = await walkTar(window, { onProblem: ({ code }) => (defect ??= DEFECTS.get(code)) })
    if (defect !== undefined) return { isWhole: false, reason: defect, offset: end.offset }
    if (end.endOffset === undefined) return { isWhole: false, reason: 'not a tar header', offset: end.offset }
    return { isWhole: true, members: end.members }
  } finally {
    window.close()
  }
}

/** Problems that mean an incorrect end of the file; unusual members do not. */
const DEFECTS: ReadonlyMap<string, TarEndDefect> = new Map([
  ['Empty', 'empty'],
  ['CutOff', 'cut off'],
  ['NoEndMarker', 'no end-of-tar marker'],
  ['LoneZeroBlock', 'no end-of-tar marker'],
  ['TrailingBytes', 'bytes after the end-of-tar marker'],
  ['TooManyMembers', 'too many members'],
  ['NamesTooMany', 'too many members'],
])
