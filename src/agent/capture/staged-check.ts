import type { FileHandle } from 'node:fs/promises'
import { relative } from 'node:path'
import type { TarEnd } from '../../archive/tar-end.ts'
import { generationOf } from '../../checkpoint/generation.ts'
import type { ArchiveReader, CannotTell } from '../inspection/archive-reader.ts'

/** Archive that the runtime left in staging. */
export interface StagedArchive {
  readonly path: string
  readonly file: FileHandle
  readonly sizeBytes: number
}

/** Result of a check. `CannotTell` says nothing about the archive. */
export type StagedVerdict = TarEnd | CannotTell

/** Checks whether a staged archive ends properly. */
export interface StagedCheck {
  readonly check: (archive: StagedArchive) => Promise<StagedVerdict>
  /** Prepares for a check because a capture has been requested. */
  readonly warm?: () => void
}

/** Checks staged archives in the reader process, since the container chose the archive's content. */
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
