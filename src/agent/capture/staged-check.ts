import type { FileHandle } from 'node:fs/promises'
import { relative } from 'node:path'
import type { TarEnd } from '../../archive/tar-end.ts'
import { generationOf } from '../../checkpoint/generation.ts'
import type { ArchiveReader, CannotTell } from '../inspection/archive-reader.ts'

/** What the runtime has left in staging. */
export interface StagedArchive {
  readonly path: string
  readonly file: FileHandle
  readonly sizeBytes: number
}

/** That no answer could be had says nothing about the archive. */
export type StagedVerdict = TarEnd | CannotTell

/** Whether a staged archive ends as it should. */
export interface StagedCheck {
  readonly check: (archive: StagedArchive) => Promise<StagedVerdict>
  /** A capture has been asked for: there will be something to check. */
  readonly warm?: () => void
}

/** By the reader: what is in the archive was chosen by the container that it was taken of. */
export function readerCheck(reader: Pick<ArchiveReader, 'findTarEnd' | 'warm'>, directory: string): StagedCheck {
  return {
    check: async ({ path, file, sizeBytes }) =>
      await reader.findTarEnd({
        path: Buffer.from(relative(directory, path)),
        generation: generationOf(await file.stat({ bigint: true })),
        sizeBytes,
        mayGrow: true,
      }),
    warm: () => {
      reader.warm()
    },
  }
}
