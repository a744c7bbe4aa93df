import type { KeyObject } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isSystemError } from '../shared/errors.ts'
import { CHAIN_BEGIN, type ChainEnd, type CustodyEntry } from './custody-entry.ts'
import { readHead } from './custody-head.ts'
import { HEAD_FILE, judgeLine, PUBLIC_KEY_FILE, readLines, segmentsAmong, type Segment } from './custody-segments.ts'
import { keyId, readEd25519Key } from './signing-key.ts'
import type { Verdict } from './verdict.ts'

/** A deviation from the log as the agent wrote it. */
export interface CustodyProblem {
  /**
   * `HashWrong`, `ChainBroken`, `NotAnEntry`, `TornLine`, `SegmentMissing`, `BeginningMissing`,
   * `EndMissing`, `Rewritten`, `HeadUnsigned`, `HeadUnreadable`.
   */
  readonly code: string
  readonly file?: string
  readonly line?: number
  readonly detail: string
}

export interface CustodyReport {
  /** `authentic` only if the given key signed a head that covers every entry. */
  readonly verdict: Verdict
  /** Reasons for the verdict `not-authenticated`. */
  readonly notChecked: readonly string[]
  readonly problems: readonly CustodyProblem[]
  /** Total number, which may exceed the length of the list. */
  readonly problemCount: number
  readonly files: number
  readonly entries: number
  readonly first: ChainEnd | undefined
  readonly last: ChainEnd | undefined
  /** Head that the end was compared with. If undefined, a missing end cannot be detected. */
  readonly head: ChainEnd | undefined
  /** Last entry covered by a head that the given key signed. */
  readonly authenticatedSeq: number | undefined
  /** Id of the given key, if it signed that head. */
  readonly keyId: string | undefined
  /**
   * Id of the key next to the log, if it signed the head and no key was given. It proves nothing by
   * itself.
   */
  readonly foundKeyId: string | undefined
}

export interface VerifyOptions {
  /** A head stored elsewhere, in addition to the one in the directory. */
  readonly head?: ChainEnd
  /** The text of a signed head stored elsewhere. */
  readonly headText?: string
  /** Public key in PEM from a trusted source. Only this key can make a log authentic. */
  readonly publicKey?: string
  /** Last entry to verify, for a log that is being written. */
  readonly upTo?: number
  /** Last entry before the first one present, if older segments were moved away. */
  readonly from?: ChainEnd
}

const MAX_LISTED = 100

/**
 * Verifies the whole log, a directory or one file of lines, in constant memory. Reports every
 * defect with its position.
 */
export async function verifyCustody(path: string, options: VerifyOptions = {}): Promise<CustodyReport> {
  const isFolder = (await stat(path)).isDirectory()
  // Read before the lines: a log that is being written may be ahead of its head, but never behind.
  const known = await readKnown(isFolder ? path : undefined, options)
  const files = isFolder ? segmentsAmong(await readdir(path)) : [{ name: '', number: 0 }]
  const walk = new ChainWalk(options.from, [...known.heads, ...(options.head === undefined ? [] : [options.head])])
  for (const problem of known.problems) walk.report(problem)
  for (const file of files) {
    if (isFolder) walk.enter(file)
    const filePath = isFolder ? join(path, file.name) : path
    for await (const line of readLines(filePath)) {
      const name = isFolder ? file.name : path
      const reading = judgeLine(line)
      const isBeingWritten = reading.isGood || reading.code === 'TornLine'
      if (options.upTo !== undefined && walk.lastSeq >= options.upTo && isBeingWritten) break
      if (reading.isGood) walk.add(reading.entry, name, line.number)
      else walk.addBad({ code: reading.code, file: name, line: line.number, detail: reading.detail })
      if (line.number % 1000 === 0) await nextTurn()
    }
  }
  return walk.finish({ files: files.length, known, head: known.heads[0] ?? options.head })
}

class ChainWalk {
  readonly #heads: readonly ChainEnd[]
  readonly #problems: CustodyProblem[] = []
  #problemCount = 0
  /** Entries that match a head. */
  readonly #matched = new Set<number>()
  #entries = 0
  #first: ChainEnd | undefined
  /** The entry that the next one must follow. */
  #end: ChainEnd | undefined
  #last: ChainEnd | undefined
  #segment: Segment | undefined
  #isFirstOfSegment = false
  /**
   * After a bad line, the next entry is checked by its number alone, because the bad line has its
   * own report.
   */
  #isAfterBad = false

  constructor(from: ChainEnd | undefined, heads: readonly ChainEnd[]) {
    this.#end = from
    this.#heads = heads
  }

  report(problem: CustodyProblem): void {
    this.#problemCount += 1
    if (this.#problems.length < MAX_LISTED) this.#problems.push(problem)
  }

  enter(segment: Segment): void {
    const before = this.#segment
    if (before !== undefined && segment.number !== before.number + 1) {
      const detail = `the file before it is ${before.name}: those between are missing`
      this.report({ code: 'SegmentMissing', file: segment.name, detail })
    }
    if (before === undefined && segment.number === 1) this.#end ??= CHAIN_BEGIN
    this.#segment = segment
    this.#isFirstOfSegment = true
  }

  add(entry: CustodyEntry, file: string, line: number): void {
    const end = this.#end
    const isNext = entry.seq === (end?.seq ?? 0) + 1 && (this.#isAfterBad || entry.previous === end?.hash)
    if (end !== undefined && !isNext) {
      this.report({ code: 'ChainBroken', file, line, detail: breakText(entry, end) })
    } else if (this.#isFirstOfSegment && this.#startsWithoutItsEntry(entry)) {
      const detail = `its first entry is number ${entry.seq}, and not the one that opens a file: lines before it are missing`
      this.report({ code: 'BeginningMissing', file, line, detail })
    }
    for (const head of this.#heads) {
      if (head.seq !== entry.seq) continue
      if (head.hash === entry.hash) this.#matched.add(entry.seq)
      else {
        const detail = `the head says that entry ${head.seq} has the hash ${head.hash}, and it has ${entry.hash}`
        this.report({ code: 'Rewritten', file, line, detail })
      }
    }
    this.#entries += 1
    this.#end = { seq: entry.seq, hash: entry.hash }
    this.#last = this.#end
    this.#first ??= this.#end
    this.#isFirstOfSegment = false
    this.#isAfterBad = false
  }

  addBad(problem: CustodyProblem): void {
    this.report(problem)
    this.#isFirstOfSegment = false
    // Assumes that the bad line was one entry; the next entry shows whether that is right.
    if (this.#end !== undefined) this.#end = { seq: this.#end.seq + 1, hash: '' }
    this.#isAfterBad = true
  }

  get lastSeq(): number {
    return this.#last?.seq ?? 0
  }

  finish({ files, known, head }: { files: number; known: Known; head: ChainEnd | undefined }): CustodyReport {
    const lastSeq = this.#end?.seq ?? 0
    for (const { seq } of this.#heads) {
      if (seq <= lastSeq) continue
      const detail = `the head knows entry ${seq}, and the last one here is ${lastSeq}`
      this.report({ code: 'EndMissing', ...(this.#segment !== undefined && { file: this.#segment.name }), detail })
    }
    const signed = known.heads.filter(({ isByGivenKey, seq }) => isByGivenKey && this.#matched.has(seq))
    const authenticatedSeq = signed.length === 0 ? undefined : Math.max(...signed.map(({ seq }) => seq))
    const notChecked = this.#problemCount > 0 ? [] : this.#listNotChecked(known, authenticatedSeq)
    return {
      verdict: this.#problemCount > 0 ? 'broken' : notChecked.length > 0 ? 'not-authenticated' : 'authentic',
      notChecked,
      problems: this.#problems,
      problemCount: this.#problemCount,
      files,
      entries: this.#entries,
      first: this.#first,
      last: this.#last,
      head: head && { seq: head.seq, hash: head.hash },
      authenticatedSeq,
      keyId: authenticatedSeq === undefined ? undefined : known.givenKeyId,
      foundKeyId: known.foundKeyId,
    }
  }

  #listNotChecked({ givenKeyId, heads }: Known, authenticatedSeq: number | undefined): readonly string[] {
    const last = this.#last
    if (last === undefined) return ['there are no entries']
    if (givenKeyId === undefined) return ['no key was given: with --public-key, the head is checked against it']
    if (heads.length === 0) return ['there is no signed head: the key that was given was not used']
    if (authenticatedSeq === undefined) return ['no entry here is one that a signed head names']
    if (authenticatedSeq === last.seq) return []
    return [
      `the signed head covers the entries up to ${authenticatedSeq}, and nothing those after it, up to ${last.seq}`,
    ]
  }

  #startsWithoutItsEntry(entry: CustodyEntry): boolean {
    const number = this.#segment?.number ?? 0
    return number > 1 && !(entry.action === 'log.segment' && entry.detail?.['segment'] === number)
  }
}

function breakText(entry: CustodyEntry, end: ChainEnd): string {
  if (entry.seq > end.seq + 1) return `entries ${end.seq + 1} to ${entry.seq - 1} are missing before entry ${entry.seq}`
  if (entry.seq < end.seq + 1) return `entry ${entry.seq} stands where entry ${end.seq + 1} belongs`
  return `entry ${entry.seq} does not carry the hash of the entry before it`
}

interface Known {
  readonly heads: readonly (ChainEnd & { readonly isByGivenKey: boolean })[]
  readonly givenKeyId: string | undefined
  readonly foundKeyId: string | undefined
  readonly problems: readonly CustodyProblem[]
}

async function readKnown(folder: string | undefined, options: VerifyOptions): Promise<Known> {
  const given = options.publicKey === undefined ? undefined : readEd25519Key(options.publicKey)
  const key = given ?? (folder === undefined ? undefined : await readFoundKey(join(folder, PUBLIC_KEY_FILE)))
  const inFolder = folder && (await readIfThere(join(folder, HEAD_FILE)))
  const problems: CustodyProblem[] = []
  const heads = [
    { text: options.headText, name: 'the head that was given' },
    { text: inFolder, name: HEAD_FILE },
  ].flatMap(({ text, name }) => {
    if (text === undefined || text === '') return []
    const read = readHead(text, key)
    if (read === undefined) {
      problems.push({ code: 'HeadUnreadable', detail: `${name} is no signed head of a custody log` })
      return []
    }
    if (!read.isSigned && given !== undefined) {
      const detail = `${name} is not signed by the key that was given: it is another key, or another log`
      problems.push({ code: 'HeadUnsigned', detail })
    } else if (!read.isSigned && key !== undefined) {
      problems.push({ code: 'HeadUnsigned', detail: `${name} is not signed by the key beside the log` })
    }
    return [{ ...read.head, isByGivenKey: read.isSigned && given !== undefined, isSigned: read.isSigned }]
  })
  const isFoundKeyUsed = given === undefined && heads.some(({ isSigned }) => isSigned)
  return {
    heads,
    givenKeyId: given && keyId(given),
    foundKeyId: isFoundKeyUsed && key ? keyId(key) : undefined,
    problems,
  }
}

/** Reads the key next to the log, which anyone could have replaced with another file. */
async function readFoundKey(path: string): Promise<KeyObject | undefined> {
  const pem = await readIfThere(path)
  try {
    return pem === undefined ? undefined : readEd25519Key(pem)
  } catch {
    return undefined
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch((error: unknown) => {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  })
}
