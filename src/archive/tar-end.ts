import type { FileHandle } from 'node:fs/promises'
import { type ByteSource, fileSource } from '../streams/byte-source.ts'
import { ByteWindow } from './byte-window.ts'
import { walkTar } from './tar-members.ts'

/** Whether a tar file is whole: `members` counts its headers; a reason says what is wrong. */
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
 * Whether a plain tar file ends as it should and nothing follows. For archives of our own captures: a runtime's success
 * is no proof, and a shorter archive written over a longer file keeps that file's tail.
 */
export function findTarEnd(file: FileHandle, sizeBytes: number): Promise<TarEnd> {
  return findSourceEnd(fileSource(file, sizeBytes))
}

/** The same of bytes from anywhere. */
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

/** What says that the file does not end well; strange members are another matter. */
const DEFECTS: ReadonlyMap<string, TarEndDefect> = new Map([
  ['Empty', 'empty'],
  ['CutOff', 'cut off'],
  ['NoEndMarker', 'no end-of-tar marker'],
  ['LoneZeroBlock', 'no end-of-tar marker'],
  ['TrailingBytes', 'bytes after the end-of-tar marker'],
  ['TooManyMembers', 'too many members'],
  ['NamesTooMany', 'too many members'],
])
