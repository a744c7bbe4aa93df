import { lstatSync } from 'node:fs'
import { assessArchive, outcomeOnRecord, type ArchiveLook } from './archive-assessment.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { examineArchive, pathOf, toArchiveFile, type ExamineOptions } from './archive-file.ts'
import type { ArchiveReader } from '../inspection/archive-reader.ts'

export interface SingleLookOptions extends ExamineOptions {
  readonly reader: Pick<ArchiveReader, 'summarize'>
  /** What is known of it: what this reader has given up is not read again. */
  readonly row?: Checkpoint
  readonly signal?: AbortSignal
  readonly now: Date
}

/** Has one archive read for somebody who waits for it. Undefined when it is gone, replaced, or no regular file. */
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
