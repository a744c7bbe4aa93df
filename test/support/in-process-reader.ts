import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { generationOf, inodeOf } from '../../src/checkpoint/generation.ts'
import type { ArchiveFile, ArchiveReader, SummaryOutcome } from '../../src/agent/inspection/archive-reader.ts'
import { summarizeArchive } from '../../src/agent/inspection/archive-summary.ts'
import { type ByteSource, descriptorSource } from '../../src/streams/byte-source.ts'
import { detectCompression, MAGIC_BYTES } from '../../src/archive/compression.ts'
import { listMembers } from '../../src/archive/member-list.ts'
import { findMember, memberSource } from '../../src/archive/member-reader.ts'
import { readRootfsDiff } from '../../src/archive/rootfs-diff.ts'
import { findTarEnd } from '../../src/archive/tar-end.ts'
import { ConflictError } from '../../src/shared/errors.ts'

/** Reads archives in the test's own process, for tests that are about what is done with the answers. */
export function inProcessReader(directory: string): ArchiveReader {
  const pathOf = ({ path }: ArchiveFile) => Buffer.concat([Buffer.from(`${directory}/`), path])

  const openSame = (file: ArchiveFile): number => {
    const descriptor = openSync(pathOf(file), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const stat = fstatSync(descriptor, { bigint: true })
    const generation = generationOf(stat)
    const isGrown = inodeOf(generation) === inodeOf(file.generation) && Number(stat.size) >= file.sizeBytes
    if (stat.isFile() && (file.mayGrow === true ? isGrown : generation === file.generation)) return descriptor
    closeSync(descriptor)
    throw changed(file)
  }

  const reading = async <Result>(file: ArchiveFile, read: (source: ByteSource) => Promise<Result>): Promise<Result> => {
    const descriptor = openOrChanged(file, openSame)
    try {
      return await read(descriptorSource(descriptor, file.sizeBytes))
    } finally {
      closeSync(descriptor)
    }
  }

  const summarize = async (file: ArchiveFile): Promise<SummaryOutcome> => {
    try {
      return { kind: 'summary', summary: await reading(file, (source) => summarizeArchive(source)) }
    } catch (error) {
      if (error instanceof ConflictError) return { kind: 'changed' }
      if (error instanceof Error && 'code' in error) return { kind: 'unreadable', code: String(error.code) }
      throw error
    }
  }

  return {
    summarizeAll: async (files, onOutcome) => {
      for (const [index, file] of files.entries()) {
        if (index % 16 === 0) await nextTurn()
        onOutcome(index, await summarize(file))
      }
    },
    summarize,
    findTarEnd: async (file) => {
      await using handle = await open(pathOf(file))
      return await findTarEnd(handle, file.sizeBytes)
    },
    listMembers: (file, page) => reading(file, (source) => listMembers(source, page)),
    findMember: (file, name, signal) =>
      reading(file, async (source) => {
        const member = await findMember(source, name, signal)
        if (member === undefined) return undefined
        const head = Buffer.alloc(MAGIC_BYTES)
        const there = await source.read(head, 0, MAGIC_BYTES, 0)
        return { member, compression: detectCompression(head.subarray(0, there)) }
      }),
    readRootfsDiff: (file, page) => reading(file, (source) => readRootfsDiff(source, page)),
    openPackedMember: async (file, member) => {
      const descriptor = openOrChanged(file, openSame)
      const source = await memberSource(descriptorSource(descriptor, file.sizeBytes), member)
      return {
        ...source,
        close: () => {
          source.close?.()
          closeSync(descriptor)
        },
      }
    },
    warm: () => undefined,
    close: () => Promise.resolve(),
  }
}

/** A reader that gives these answers for the archives of these names, and reads all others. */
export function answering(reader: ArchiveReader, answers: ReadonlyMap<string, () => SummaryOutcome>): ArchiveReader {
  const answerFor = ({ path }: ArchiveFile) => answers.get(path.toString('latin1'))
  return {
    ...reader,
    summarize: async (file, options) => answerFor(file)?.() ?? (await reader.summarize(file, options)),
    summarizeAll: async (files, onOutcome) => {
      for (const [index, file] of files.entries()) {
        onOutcome(index, answerFor(file)?.() ?? (await reader.summarize(file, { lane: 'index' })))
      }
    },
  }
}

function openOrChanged(file: ArchiveFile, openSame: (file: ArchiveFile) => number): number {
  try {
    return openSame(file)
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ELOOP')) {
      throw changed(file)
    }
    throw error
  }
}

function changed({ path }: ArchiveFile): ConflictError {
  return new ConflictError(`Cannot read "${path.toString()}": it is another file now`, { code: 'CheckpointChanged' })
}
