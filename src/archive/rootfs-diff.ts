import { type Problem, ProblemList } from '../checkpoint/problem.ts'
import { MAX_JSON_BYTES } from './archive-limits.ts'
import type { ByteSource } from '../streams/byte-source.ts'
import { DELETED_FILES, readDeletedFiles } from './deleted-files.ts'
import { PageBudget } from './page-budget.ts'
import { memberSource } from './member-reader.ts'
import type { TarMember } from './tar-member.ts'
import { walkArchive } from './walk-archive.ts'

/**
 * Kind of a change. `changed`: the file is known to have existed before. `emptied`: all previous
 * content of the directory is gone. A diff does not distinguish new files from changed ones, so all
 * others are `added-or-changed`.
 */
export type RootfsChangeKind = 'added-or-changed' | 'changed' | 'deleted' | 'emptied'

export interface RootfsChange {
  /** Path that is safe to display, without a leading slash. */
  readonly path: string
  readonly change: RootfsChangeKind
  /** The present file. */
  readonly entry?: TarMember
}

export interface RootfsDiff {
  /** True if the archive contains a diff. */
  readonly isThere: boolean
  /**
   * In the order of the archive, followed by files that only the list of deleted files mentions.
   */
  readonly changes: readonly RootfsChange[]
  readonly remaining: number
  /** True if the diff was read to its end. */
  readonly isWhole: boolean
  readonly problems: readonly Problem[]
}

export interface RootfsDiffOptions {
  readonly skip: number
  readonly limit: number
  /** Largest size of a page as JSON, whatever the limit. */
  readonly maxBytes?: number
  readonly signal: AbortSignal
}

const ROOTFS_DIFF = 'rootfs-diff.tar'

/**
 * Lists the changes of the writable layer relative to the image. Streams the archive without
 * unpacking it.
 */
export async function readRootfsDiff(
  source: ByteSource,
  { skip, limit, maxBytes = Infinity, signal }: RootfsDiffOptions,
): Promise<RootfsDiff> {
  const problems = new ProblemList()
  const { diff, deleted, isWhole: isArchiveWhole } = await findParts(source, { problems, signal })
  const page = new Page({ skip, limit, maxBytes })
  const left = new Set(deleted)
  const onMember = (member: TarMember) => {
    const change = toChange(member, deleted)
    left.delete(change.path)
    page.add(change)
    return 0
  }
  const isDiffWhole = diff === undefined || (await walkDiff(source, diff, { onMember, problems, signal }))
  for (const path of left) page.add({ path, change: 'deleted' })
  return {
    isThere: diff !== undefined,
    changes: page.changes,
    remaining: page.remaining,
    isWhole: isArchiveWhole && isDiffWhole,
    problems: problems.list(),
  }
}

interface Parts {
  readonly diff: TarMember | undefined
  readonly deleted: ReadonlySet<string>
  readonly isWhole: boolean
}

async function findParts(
  source: ByteSource,
  { problems, signal }: { readonly problems: ProblemList; readonly signal: AbortSignal },
): Promise<Parts> {
  let diff: TarMember | undefined
  let deleted: ReadonlySet<string> | undefined
  let isWhole = true
  const onProblem = (problem: Problem) => {
    if (problem.weight !== 'note') isWhole = false
    problems.add(problem)
  }
  await walkArchive(
    source,
    {
      onMember: (member) => {
        if (member.name === ROOTFS_DIFF && member.type === 'file') diff ??= member
        return member.name === DELETED_FILES && member.type === 'file' && deleted === undefined ? MAX_JSON_BYTES + 1 : 0
      },
      onContent: (_, content) => {
        deleted = readDeletedFiles(content, onProblem)
      },
      onProblem,
    },
    signal,
  )
  return { diff, deleted: deleted ?? new Set(), isWhole }
}

interface DiffWalk {
  readonly onMember: (member: TarMember) => number
  readonly problems: ProblemList
  readonly signal: AbortSignal
}

/** Walks the diff. Returns true if it was read to its end. */
async function walkDiff(
  source: ByteSource,
  diff: TarMember,
  { onMember, problems, signal }: DiffWalk,
): Promise<boolean> {
  const nested = await memberSource(source, diff)
  let isWhole = true
  try {
    const onProblem = (problem: Problem) => {
      if (USUAL_IN_A_DIFF.has(problem.code) || (problem.code === 'Empty' && diff.sizeBytes > 0)) return
      if (problem.weight !== 'note') isWhole = false
      problems.add({ ...problem, detail: `${ROOTFS_DIFF}: ${problem.detail}` })
    }
    await walkArchive(nested, { onMember, onProblem }, signal)
  } finally {
    nested.close?.()
  }
  return isWhole
}

/** Problems of a checkpoint archive that are normal in a file system. */
const USUAL_IN_A_DIFF: ReadonlySet<string> = new Set([
  'LinkMember',
  'DeviceMember',
  'FifoMember',
  'NameWhiteout',
  'NameBackslash',
  'NameControl',
  'NameNotUtf8',
  'ParentNeeded',
])

const WHITEOUT = '.wh.'
const OPAQUE = '.wh..wh..opq'

function toChange(member: TarMember, deleted: ReadonlySet<string>): RootfsChange {
  const slash = member.name.lastIndexOf('/') + 1
  const folder = member.name.slice(0, slash)
  const name = member.name.slice(slash)
  if (name === OPAQUE) return { path: folder.slice(0, -1), change: 'emptied' }
  if (name.startsWith(WHITEOUT)) return { path: folder + name.slice(WHITEOUT.length), change: 'deleted' }
  const change = deleted.has(member.name) ? 'changed' : 'added-or-changed'
  return { path: member.name, change, entry: member }
}

/** Counts all changes and keeps one page of them. */
class Page {
  readonly changes: RootfsChange[] = []
  readonly #skip: number
  readonly #limit: number
  readonly #budget: PageBudget
  #count = 0

  constructor({ skip, limit, maxBytes }: { skip: number; limit: number; maxBytes: number }) {
    this.#skip = skip
    this.#limit = limit
    this.#budget = new PageBudget(maxBytes)
  }

  get remaining(): number {
    return Math.max(0, this.#count - this.#skip - this.changes.length)
  }

  add(change: RootfsChange): void {
    const isOnPage = this.#count >= this.#skip && this.changes.length < this.#limit
    const { path, entry } = change
    if (isOnPage && this.#budget.take(path, entry?.name, entry?.linkName)) this.changes.push(change)
    this.#count += 1
  }
}
