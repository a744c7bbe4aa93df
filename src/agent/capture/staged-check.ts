import type { FileHandle } from 'node:fs/promises'
import { findTarEnd, type TarEnd } from '../../archive/tar-end.ts'

/** What the runtime has left in staging. */
export interface StagedArchive {
  readonly path: string
  readonly file: FileHandle
  readonly sizeBytes: number
}

/** That no answer could be had says nothing about the archive. */
export type StagedVerdict = TarEnd | { readonly kind: 'cannot-tell'; readonly why: string }

/** Whether a staged archive ends as it should. Passed in, as bytes that others chose may be read in another process. */
export interface StagedCheck {
  readonly check: (archive: StagedArchive) => Promise<StagedVerdict>
  /** A capture has been asked for: there will be something to check. */
  readonly warm?: () => void
}

export const IN_PROCESS_CHECK: StagedCheck = {
  check: ({ file, sizeBytes }) => findTarEnd(file, sizeBytes),
}
