import type { ByteSource } from '../../../src/streams/byte-source.ts'
import type { ArchiveSummary } from '../../../src/agent/inspection/archive-summary.ts'
import { buildArchive } from '../../support/archive-builder.ts'
import { END_OF_TAR, type MemberBlocks, rawMember, splitTar } from '../../support/raw-tar.ts'

/** An archive with one defect, and what the reader makes of it. */
export interface HostileCase {
  /** The defect. */
  readonly name: string
  readonly archive: () => Uint8Array | ByteSource
  readonly code: string
  /** `damaged` where nothing is said. */
  readonly state?: ArchiveSummary['state']
  /** What is read all the same. */
  readonly summary?: Readonly<Record<string, unknown>>
}

/** An archive that nothing is wrong with. */
export function honestArchive(): Buffer {
  return Buffer.concat([...buildArchive().chunks()])
}

export function honestMembers(): MemberBlocks[] {
  return splitTar(honestArchive())
}

/** Members and an end. */
export function tarOf(...pieces: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...pieces, END_OF_TAR])
}

/** The honest archive with something in front of its members. */
export function withFirst(...pieces: readonly Uint8Array[]): Buffer {
  return tarOf(...pieces, ...honestMembers().map(({ blocks }) => blocks))
}

/** The honest archive with something behind its members. */
export function withLast(...pieces: readonly Uint8Array[]): Buffer {
  return tarOf(...honestMembers().map(({ blocks }) => blocks), ...pieces)
}

/** The honest archive with one member replaced: by other content, or by other blocks. */
export function withMember(name: string, replacement: string | Buffer | { readonly blocks: Buffer }): Buffer {
  return tarOf(
    ...honestMembers().map((each) => {
      if (each.name !== name) return each.blocks
      if (typeof replacement !== 'string' && 'blocks' in replacement) return replacement.blocks
      return rawMember({ name }, replacement)
    }),
  )
}

export function without(...names: readonly string[]): Buffer {
  return tarOf(...honestMembers().flatMap(({ name, blocks }) => (names.includes(name) ? [] : [blocks])))
}

/** What a JSON member of the honest archive holds. */
export function jsonOf(name: string): string {
  const found = honestMembers().find((each) => each.name === name)
  if (found === undefined) throw new Error(`no member ${name}`)
  return found.content.toString()
}

/** A source without a file: each block is made when it is read. */
export function madeUpSource(sizeBytes: number, blockAt: (index: number) => Uint8Array): ByteSource {
  return {
    sizeBytes,
    read: (into, at, length, position) => {
      let filled = 0
      while (filled < length && position + filled < sizeBytes) {
        const here = position + filled
        const block = blockAt(Math.floor(here / 512))
        const part = block.subarray(here % 512, Math.min(512, (here % 512) + length - filled))
        into.set(part, at + filled)
        filled += part.length
      }
      return filled
    },
  }
}
