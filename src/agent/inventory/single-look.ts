import { lstatSync } from 'node:fs'
import { assessArchive, outcomeOnRecord, type ArchiveLook } from './archive-assessment.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { examineArchive, pathOf, toArchiveFile, type ExamineOptions } from './archive-file.ts'
import type { ArchiveReader } from '../inspection/archive-reader.ts'

export interface SingleLookOptions extends ExamineOptions {
  readonly reader: Pick<ArchiveReader, 'summarize'>
  /** Current row. An archive that this reader gave up is not read again. */
  readonly row?: Checkpoint
  readonly signal?: AbortSignal
  readonly now: Date
}

/** Reads one archive for a waiting caller. Returns undefined if it is gone, was replaced, or is not a regular file. */
export async function lookAtArchive(
  rawName: Uint8Array,
  { reader, row, signal, now, ...options }: SingleLookOptions,
): Promise<ArchiveLook | undefined> {
  const path = pathOf(options.directory, rawName)
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  if (stat?.isFile() !== true) return undefined
  const file = examineArchive(rawName, stat, options)
  if (file === undefined) return undefined
  const outcome =
    outcomeOnRecord(row, file) ??
    (await reader.summarize(toArchiveFile(file), { lane: 'callers', ...(signal !== undefined && { signal }) }))
  return outcome.kind === 'changed' ? undefined : assessArchive(file, outcome, now)
}
