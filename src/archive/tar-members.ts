import { type Problem, ProblemError } from '../checkpoint/problem.ts'
import {
  MAX_ALL_NAMES_BYTES,
  MAX_GNU_NAME_BYTES,
  MAX_MEMBERS,
  MAX_PADDING_BYTES,
  MAX_PAX_BYTES,
  READ_AHEAD_BYTES,
  TAR_BLOCK_BYTES,
} from './archive-limits.ts'
import { archiveError, quoted } from './archive-problem.ts'
import type { ByteWindow } from './byte-window.ts'
import { isWhiteout, readMemberName } from './member-name.ts'
import { assertHarmlessGlobal, type Extension, readPaxRecords } from './pax-records.ts'
import { type Report, reporterTo } from './problem-reporter.ts'
import {
  emptyHeader,
  hasValidChecksum,
  isZeroBlock,
  readHeader,
  readRawLinkName,
  readRawName,
  type TarHeader,
} from './tar-header.ts'
import { isLink, memberType, reportOddity, type TarMember } from './tar-member.ts'

/**
 * Callbacks of a walk over an archive. They are synchronous: a walk is one pass over the headers.
 */
export interface TarVisitor {
  /**
   * Called at a header. Returns the number of content bytes to deliver, from the beginning; 0 for
   * none.
   */
  readonly onMember?: (member: TarMember) => number
  /** Called with the requested bytes, which are valid only during the call. */
  readonly onContent?: (member: TarMember, content: Buffer) => void
  /** Called once the whole content is known to exist. */
  readonly onPassed?: (member: TarMember) => void
  readonly onProblem: (problem: Problem) => void
}

export interface TarEnd {
  /** Members whose header was read. */
  readonly members: number
  /** Position after the two zero blocks; absent if they were not found. */
  readonly endOffset?: number
  /** Position that the walk reached. */
  readonly offset: number
}

/**
 * Walks from header to header and seeks over the content, so the cost depends on the number of
 * members, not on bytes. Reports defects to `onProblem`, and stops if the next header cannot be
 * located reliably.
 */
export async function walkTar(window: ByteWindow, visitor: TarVisitor, signal?: AbortSignal): Promise<TarEnd> {
  const walk = new TarWalk(window, visitor)
  try {
    const endOffset = await walk.run(signal)
    return { members: walk.members, offset: walk.position, ...(endOffset !== undefined && { endOffset }) }
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    visitor.onProblem(error.problem)
    return { members: walk.members, offset: walk.position }
  }
}

class TarWalk {
  position = 0
  members = 0
  readonly #window: ByteWindow
  readonly #visitor: TarVisitor
  readonly #report: Report
  readonly #header: TarHeader = emptyHeader()
  readonly #names = new Set<string>()
  #nameBytes = 0
  #headers = 0
  #last: TarMember | undefined
  /** Data of pax and GNU headers for the next member. */
  #extension: Extension | undefined
  #seenPax = false

  constructor(window: ByteWindow, visitor: TarVisitor) {
    this.#window = window
    this.#visitor = visitor
    this.#report = reporterTo((problem) => visitor.onProblem(problem))
  }

  /** Returns the end of the archive; undefined if it is truncated. */
  async run(signal: AbortSignal | undefined): Promise<number | undefined> {
    const { bytes, words } = this.#window
    for (;;) {
      if (!this.#window.holds(this.position, TAR_BLOCK_BYTES)) {
        signal?.throwIfAborted()
        const there = await this.#window.load(this.position, TAR_BLOCK_BYTES)
        if (there < TAR_BLOCK_BYTES) return this.#reportCut(there)
      }
      const index = this.#window.index(this.position)
      if (isZeroBlock(words, index)) return await this.#end()
      this.#passLast()
      if (!hasValidChecksum(bytes, words, index)) throw this.#noHeader()
      readHeader(bytes, index, this.#header)
      const wait = this.#isExtension() ? this.#readExtension() : this.#readMember(index)
      if (wait !== undefined) await wait
    }
  }

  #isExtension(): boolean {
    const { type } = this.#header
    return type === PAX || type === PAX_GLOBAL || type === GNU_LONG_NAME || type === GNU_LONG_LINK
  }

  async #readExtension(): Promise<void> {
    const { type, sizeBytes } = this.#header
    const isPax = type === PAX || type === PAX_GLOBAL
    if (sizeBytes > (isPax ? MAX_PAX_BYTES : MAX_GNU_NAME_BYTES)) {
      throw archiveError(isPax ? 'PaxTooLarge' : 'LongNameTooLarge', `an extended header has ${sizeBytes} bytes`)
    }
    const content = await this.#window.content(this.position + TAR_BLOCK_BYTES, sizeBytes)
    if (content.length < sizeBytes) throw archiveError('CutOff', 'the file ends within an extended header')
    if (type === PAX_GLOBAL) {
      assertHarmlessGlobal(content)
    } else if (type === PAX) {
      if (this.#seenPax) throw repeated()
      this.#seenPax = true
      this.#extension = { ...this.#extension, ...copied(readPaxRecords(content)) }
    } else {
      const key = type === GNU_LONG_NAME ? 'path' : 'linkPath'
      if (this.#extension?.[key] !== undefined) throw repeated()
      const nul = content.indexOf(0)
      this.#extension = { ...this.#extension, [key]: Buffer.from(nul < 0 ? content : content.subarray(0, nul)) }
    }
    this.position += TAR_BLOCK_BYTES + padded(sizeBytes)
    this.#countHeader()
  }

  #readMember(index: number): Promise<void> | undefined {
    this.#countHeader()
    const member = this.#describe(index)
    this.members += 1
    const next = member.offset + padded(member.sizeBytes)
    const { sizeBytes } = this.#window.source
    if (sizeBytes !== undefined && next > sizeBytes) {
      this.position = sizeBytes
      throw archiveError('CutOff', `the file ends within ${quoted(member.name)}`)
    }
    this.#last = member
    const wish = this.#visitor.onMember?.(member) ?? 0
    this.position = next
    if (wish <= 0 || member.sizeBytes === 0) {
      if (wish > 0) this.#visitor.onContent?.(member, EMPTY)
      return undefined
    }
    const length = Math.min(wish, member.sizeBytes)
    if (!this.#window.holds(member.offset, length)) return this.#readContent(member, length)
    const start = this.#window.index(member.offset)
    this.#visitor.onContent?.(member, this.#window.bytes.subarray(start, start + length))
    return undefined
  }

  async #readContent(member: TarMember, length: number): Promise<void> {
    const content = await this.#window.content(member.offset, length)
    if (content.length < length) throw archiveError('CutOff', `the file ends within ${quoted(member.name)}`)
    this.#visitor.onContent?.(member, content)
  }

  #describe(index: number): TarMember {
    const { plainName, type: flag } = this.#header
    const extension = this.#extension
    let name: string
    let endsInSlash: boolean
    if (plainName !== undefined && extension?.path === undefined) {
      endsInSlash = plainName.endsWith('/')
      name = endsInSlash ? plainName.replace(/\/+$/, '') : plainName
    } else {
      const raw = extension?.path ?? readRawName(this.#window.bytes, index)
      endsInSlash = raw.at(-1) === SLASH
      name = readMemberName(raw, this.#report)
    }
    const type = memberType(flag, endsInSlash)
    const hasContent = type === 'file' || type === 'unknown'
    const sizeBytes = extension?.sizeBytes ?? this.#header.sizeBytes
    if (!hasContent && sizeBytes !== 0)
      this.#report('SizeWithoutContent', () => `${quoted(name)} is a ${type} with a size`)
    const member: TarMember = {
      name,
      type,
      sizeBytes: hasContent ? sizeBytes : 0,
      offset: this.position + TAR_BLOCK_BYTES,
      modifiedSeconds: extension?.modified?.seconds ?? this.#header.modifiedSeconds,
      modifiedNanos: extension?.modified?.nanos ?? 0,
    }
    if (!Number.isSafeInteger(member.offset + padded(member.sizeBytes))) {
      throw archiveError('HeaderNumber', `the size of ${quoted(name)} is beyond 2^53`)
    }
    const described = isLink(type) ? { ...member, linkName: this.#readLinkName(index) } : member
    this.#judge(described)
    this.#extension = undefined
    this.#seenPax = false
    return described
  }

  #readLinkName(index: number): string {
    const raw = this.#extension?.linkPath ?? readRawLinkName(this.#window.bytes, index)
    return quoted(raw.toString('utf8')).slice(1, -1)
  }

  #judge(member: TarMember): void {
    if (this.#header.type === GNU_SPARSE) throw archiveError('SparseMember', `${quoted(member.name)} is a sparse file`)
    reportOddity(member, this.#header.type, this.#report)
    if (isWhiteout(member.name)) {
      this.#report('NameWhiteout', () => `${quoted(member.name)} would delete a file where the archive is unpacked`)
    }
    if (member.type !== 'directory') this.#rememberName(member.name)
  }

  #rememberName(name: string): void {
    const before = this.#names.size
    this.#names.add(name)
    if (this.#names.size === before) {
      this.#report('DuplicateMember', () => `${quoted(name)} is there twice; the first one counts`)
      return
    }
    this.#nameBytes += name.length
    if (this.#nameBytes > MAX_ALL_NAMES_BYTES) {
      throw archiveError('NamesTooMany', `its names take more than ${MAX_ALL_NAMES_BYTES} bytes`)
    }
  }

  /** Counts all headers, because headers without members cost as much as members. */
  #countHeader(): void {
    this.#headers += 1
    if (this.#headers > MAX_MEMBERS) throw archiveError('TooManyMembers', `it has more than ${MAX_MEMBERS} headers`)
  }

  #passLast(): void {
    if (this.#last === undefined) return
    this.#visitor.onPassed?.(this.#last)
    this.#last = undefined
  }

  /** Reports that the source has fewer bytes than a header. */
  #reportCut(there: number): undefined {
    const { sizeBytes } = this.#window.source
    if (sizeBytes === 0) {
      this.#report('Empty', () => 'the file is empty')
    } else if (sizeBytes !== undefined && sizeBytes < this.position) {
      this.#report('CutOff', () => `the file ends within ${quoted(this.#last?.name ?? '')}`)
      this.position = sizeBytes
    } else {
      this.#passLast()
      if (there > 0) this.#report('CutOff', () => 'the file ends within a header')
      else this.#report('NoEndMarker', () => 'the two blocks of zeros at the end are missing')
    }
  }

  #noHeader(): ProblemError {
    if (this.position === 0) return archiveError('NotATar', 'it does not begin with the header of a tar member')
    return archiveError('HeaderChecksum', `at byte ${this.position} there is no header of a tar member`)
  }

  /** Handles a block of zeros: checks for the second one, and for bytes after it. */
  async #end(): Promise<number | undefined> {
    this.#passLast()
    if (this.#extension !== undefined || this.#seenPax) {
      throw archiveError('ExtensionWithoutMember', 'the last extended header belongs to no member')
    }
    const second = this.position + TAR_BLOCK_BYTES
    const there = await this.#window.load(second, TAR_BLOCK_BYTES)
    if (there < TAR_BLOCK_BYTES) {
      this.#report('NoEndMarker', () => 'the second block of zeros at the end is missing')
      return undefined
    }
    if (!isZeroBlock(this.#window.words, this.#window.index(second))) {
      throw archiveError('LoneZeroBlock', `the block of zeros at byte ${this.position} is not the end`)
    }
    if (this.members === 0) {
      // A disk leaves this after a power failure, or a writer that reserves its space first.
      this.#report('Empty', () => 'it begins with its end')
      return undefined
    }
    this.position = second + TAR_BLOCK_BYTES
    await this.#lookBehind(this.position)
    return this.position
  }

  /**
   * Checks the bytes after the end. Some writers pad their last record with zeros; other bytes are
   * the remains of an older, larger file.
   */
  async #lookBehind(end: number): Promise<void> {
    const last = end + MAX_PADDING_BYTES
    for (let at = end; at <= last; at += READ_AHEAD_BYTES) {
      const { sizeBytes } = this.#window.source
      if (sizeBytes !== undefined && at >= sizeBytes) return
      const rest = await this.#window.content(at, READ_AHEAD_BYTES)
      if (rest.length === 0) return
      if (at === last || !isZero(rest)) break
    }
    const { sizeBytes } = this.#window.source
    const count = sizeBytes === undefined ? 'bytes' : `${sizeBytes - end} bytes`
    this.#report('TrailingBytes', () => `${count} follow the end, left over from an older file`)
  }
}

const PAX = byteOf('x')
const PAX_GLOBAL = byteOf('g')
const GNU_LONG_NAME = byteOf('L')
const GNU_LONG_LINK = byteOf('K')
const GNU_SPARSE = byteOf('S')
const SLASH = byteOf('/')
const EMPTY = Buffer.alloc(0)

function byteOf(character: string): number {
  return character.charCodeAt(0)
}

/** Copies the values out of the window, which moves on. */
function copied(extension: Extension): Extension {
  return {
    ...extension,
    ...(extension.path !== undefined && { path: Buffer.from(extension.path) }),
    ...(extension.linkPath !== undefined && { linkPath: Buffer.from(extension.linkPath) }),
  }
}

function repeated(): ProblemError {
  return archiveError('ExtensionRepeated', 'two extended headers of one kind stand before one member')
}

function padded(size: number): number {
  return Math.ceil(size / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES
}

function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += 1) if (bytes[at] !== 0) return false
  return true
}
