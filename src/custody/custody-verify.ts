import { createPublicKey, type KeyObject } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isSystemError } from '../shared/errors.ts'
import { CHAIN_BEGIN, type ChainEnd, type CustodyEntry } from './custody-entry.ts'
import { readHead } from './custody-head.ts'
import { HEAD_FILE, judgeLine, PUBLIC_KEY_FILE, readLines, segmentsAmong, type Segment } from './custody-segments.ts'
import { keyId } from './signing-key.ts'

/** Something in the log that is not as the agent wrote it. */
export interface CustodyProblem {
  /** `HashWrong`, `ChainBroken`, `NotAnEntry`, `TornLine`, `SegmentMissing`, `BeginningMissing`, `EndMissing`, `Rewritten`, `HeadUnsigned`, `HeadUnreadable`. */
  readonly code: string
  readonly file?: string
  readonly line?: number
  readonly detail: string
}

export interface CustodyReport {
  readonly isSound: boolean
  readonly problems: readonly CustodyProblem[]
  /** More than are listed. */
  readonly problemCount: number
  readonly files: number
  readonly entries: number
  readonly first: ChainEnd | undefined
  readonly last: ChainEnd | undefined
  /** What the end was compared with; undefined: nothing says whether the end is missing. */
  readonly head: (ChainEnd & { readonly isSigned: boolean }) | undefined
  /** SHA-256 of the public key, to be compared with one that was pinned. */
  readonly keyId: string | undefined
}

export interface VerifyOptions {
  /** A head that was kept elsewhere, beside the one in the folder. */
  readonly head?: ChainEnd
  /** The text of a signed head that was kept elsewhere. */
  readonly headText?: string
  /** PEM; without it the one in the folder. */
  readonly publicKey?: string
  /** The last entry before the first that is here, where older segments were moved away. */
  readonly from?: ChainEnd
}

const MAX_LISTED = 100

/** Reads the whole log, a folder or one file of lines, in constant memory, and says what is wrong with it and where. */
export async function verifyCustody(path: string, options: VerifyOptions = {}): Promise<CustodyReport> {
  const isFolder = (await stat(path)).isDirectory()
  // Before the lines: a log that is being written may be ahead of its head, never behind.
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
      if (reading.isGood) walk.add(reading.entry, name, line.number)
      else walk.addBad({ code: reading.code, file: name, line: line.number, detail: reading.detail })
      if (line.number % 1000 === 0) await nextTurn()
    }
  }
  return walk.finish({
    files: files.length,
    head: known.head ?? options.head,
    isSigned: known.isSigned,
    keyId: known.keyId,
  })
}

class ChainWalk {
  readonly #heads: readonly ChainEnd[]
  readonly #problems: CustodyProblem[] = []
  #problemCount = 0
  #entries = 0
  #first: ChainEnd | undefined
  /** What the next entry must follow. */
  #end: ChainEnd | undefined
  #last: ChainEnd | undefined
  #segment: Segment | undefined
  #isFirstOfSegment = false
  /** After a bad line the next one is measured by its number alone: its own report is enough. */
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
      if (head.seq === entry.seq && head.hash !== entry.hash) {
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
    // It stood for one entry; whatever it was, the next one says which.
    if (this.#end !== undefined) this.#end = { seq: this.#end.seq + 1, hash: '' }
    this.#isAfterBad = true
  }

  finish(facts: {
    readonly files: number
    readonly head: ChainEnd | undefined
    readonly isSigned: boolean
    readonly keyId: string | undefined
  }): CustodyReport {
    const lastSeq = this.#end?.seq ?? 0
    for (const head of this.#heads) {
      if (head.seq <= lastSeq) continue
      const detail = `the head knows entry ${head.seq}, and the last one here is ${lastSeq}`
      this.report({ code: 'EndMissing', ...(this.#segment !== undefined && { file: this.#segment.name }), detail })
    }
    return {
      isSound: this.#problemCount === 0,
      problems: this.#problems,
      problemCount: this.#problemCount,
      files: facts.files,
      entries: this.#entries,
      first: this.#first,
      last: this.#last,
      head: facts.head && { seq: facts.head.seq, hash: facts.head.hash, isSigned: facts.isSigned },
      keyId: facts.keyId,
    }
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
  readonly heads: readonly ChainEnd[]
  readonly head: ChainEnd | undefined
  readonly isSigned: boolean
  readonly keyId: string | undefined
  readonly problems: readonly CustodyProblem[]
}

async function readKnown(folder: string | undefined, options: VerifyOptions): Promise<Known> {
  const pem = options.publicKey ?? (folder && (await readIfThere(join(folder, PUBLIC_KEY_FILE))))
  const publicKey = pem === undefined || pem === '' ? undefined : readPublicKey(pem)
  const inFolder = folder && (await readIfThere(join(folder, HEAD_FILE)))
  const problems: CustodyProblem[] = []
  const found = [
    { text: options.headText, name: 'the head that was given' },
    { text: inFolder, name: HEAD_FILE },
  ].flatMap(({ text, name }) => {
    if (text === undefined || text === '') return []
    const read = readHead(text, publicKey)
    if (read === undefined)
      problems.push({ code: 'HeadUnreadable', detail: `${name} is no signed head of a custody log` })
    else if (!read.isSigned && publicKey !== undefined) {
      problems.push({ code: 'HeadUnsigned', detail: `${name} is not signed by the key ${keyId(publicKey)}` })
    }
    return read === undefined ? [] : [read]
  })
  return {
    heads: found.map(({ head }) => head),
    head: found[0]?.head,
    isSigned: found[0]?.isSigned ?? false,
    keyId: publicKey && keyId(publicKey),
    problems,
  }
}

function readPublicKey(pem: string): KeyObject {
  return createPublicKey(pem)
}

async function readIfThere(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch((error: unknown) => {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  })
}
