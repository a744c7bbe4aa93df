import { type ArchiveFacts, readArchiveFacts } from '../../archive/archive-facts.ts'
import type { ByteSource } from '../../streams/byte-source.ts'
import { type Problem, ProblemError, type ProblemList } from '../../checkpoint/problem.ts'
import { type DumpStatistics, readDumpStatistics } from '../../criu/dump-statistics.ts'
import { readCriuVersion } from '../../criu/dump-log.ts'
import type { ImageDirectory } from '../../criu/image-directory.ts'
import { imageProblem } from '../../criu/image-problem.ts'
import { readInventory } from '../../criu/inventory.ts'
import type { PageCompression } from '../../criu/page-compression.ts'
import { type ProcessTree, readProcessTree } from '../../criu/process-tree.ts'

/** Result of reading an archive once: the engine's metadata and the data of CRIU's images. */
export interface ArchiveSummary extends Omit<ArchiveFacts, 'problems' | 'images' | 'imageProcesses' | 'end'> {
  /**
   * State of the archive. `incomplete`: its end is missing and it may still be being written. `damaged`: the findings
   * say why.
   */
  readonly state: 'whole' | 'incomplete' | 'damaged'
  readonly problems: readonly Problem[]
  readonly criuVersion?: string
  readonly processCount?: number
  readonly dumpStatistics?: DumpStatistics
  readonly memberCount: number
  /** Offset of the end of the uncompressed tar. Absent if the end is missing. */
  readonly endOffset?: number
}

/**
 * Reads an archive once, skips its memory pages, and summarizes it. Returns a summary for any content. Throws only if
 * the source cannot be read.
 */
export async function summarizeArchive(source: ByteSource, signal?: AbortSignal): Promise<ArchiveSummary> {
  const { problems, images, imageProcesses, end, ...facts } = await readArchiveFacts(source, signal)
  const directory: ImageDirectory = { read: (name) => images.get(name) }
  const isWhole = end.endOffset !== undefined
  const hasImages = facts.kind === 'criu-images' || (facts.kind === 'container' && facts.checkpointBytes > 0)
  const look = lookAtImages(directory, { problems, isWhole, hasImages })
  if (look.tree !== undefined) reportStaleImages(look.tree, imageProcesses, problems)
  // The size of compressed pages cannot be predicted.
  const isPlain = look.pageCompression === undefined || look.pageCompression.kind === 'none'
  if (look.statistics !== undefined && isWhole && isPlain) reportOddMemory(look.statistics, facts.memoryBytes, problems)
  const criuVersion = readCriuVersion(directory)
  const list = problems.list()
  return {
    ...facts,
    state: stateOf(list, isWhole),
    problems: list,
    ...(criuVersion !== undefined && { criuVersion }),
    ...(look.tree !== undefined && { processCount: look.tree.processCount }),
    ...(look.statistics !== undefined && { dumpStatistics: look.statistics }),
    memberCount: end.members,
    ...(end.endOffset !== undefined && { endOffset: end.endOffset }),
  }
}

interface LookOptions {
  readonly problems: ProblemList
  readonly isWhole: boolean
  readonly hasImages: boolean
}

interface Look {
  readonly tree?: ProcessTree
  readonly statistics?: DumpStatistics
  readonly pageCompression?: PageCompression
}

function lookAtImages(directory: ImageDirectory, { problems, isWhole, hasImages }: LookOptions): Look {
  const add = (problem: Problem) => {
    // A missing part may follow the truncated end.
    if (isWhole || !MISSING.has(problem.code)) problems.add(problem)
  }
  const pageCompression = hasImages ? attempt(() => readInventory(directory), add)?.pageCompression : undefined
  if (pageCompression !== undefined) reportCompression(pageCompression, add)
  const tree = hasImages ? attempt(() => readProcessTree(directory, add), add) : undefined
  const statistics = attempt(() => readDumpStatistics(directory), add)
  return {
    ...(tree !== undefined && { tree }),
    ...(statistics !== undefined && { statistics }),
    ...(pageCompression !== undefined && { pageCompression }),
  }
}

const MISSING: ReadonlySet<string> = new Set(['NoInventory', 'NoProcessTree'])

function attempt<T>(read: () => T, onProblem: (problem: Problem) => void): T | undefined {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    onProblem(error.problem)
    return undefined
  }
}

/** Reports compressed memory pages, whose stored size differs from their size in memory. This is a note, not damage. */
function reportCompression(compression: PageCompression, add: (problem: Problem) => void): void {
  if (compression.kind === 'lz4') {
    add(
      imageProblem(
        'PagesCompressed',
        `its memory pages are LZ4-compressed in blocks of ${compression.blockBytes} bytes`,
      ),
    )
  } else if (compression.kind === 'unsupported') {
    add(imageProblem('PageCompressionUnsupported', `its memory pages are stored in ${compression.reason}`))
  }
}

/** Reports images of ended processes, which Podman keeps from an earlier checkpoint of the same container. */
function reportStaleImages(tree: ProcessTree, imageProcesses: readonly number[], problems: ProblemList): void {
  const stale = imageProcesses.filter((pid) => !tree.parents.has(pid))
  if (stale.length === 0) return
  problems.add(imageProblem('StaleImages', `images of ${stale.length} processes that were not running any more`))
}

/**
 * Reports memory that differs from CRIU's count. A dump without a parent has exactly the counted pages; leftovers of an
 * earlier dump add to them.
 */
function reportOddMemory(statistics: DumpStatistics, memoryBytes: number, problems: ProblemList): void {
  const { pagesWritten, sharedPagesWritten = 0 } = statistics
  const isPart = [statistics.pagesSkippedParent, statistics.sharedPagesSkippedParent, statistics.pagesLazy]
  if (pagesWritten === undefined || isPart.some((count) => count !== undefined && count > 0)) return
  const pages = pagesWritten + sharedPagesWritten
  if (PAGE_SIZES.some((size) => pages * size === memoryBytes)) return
  problems.add(
    imageProblem('MemoryDisagrees', `CRIU wrote ${pages} pages, the archive holds ${memoryBytes} bytes of them`),
  )
}

/** Page sizes of the machines that CRIU supports. */
const PAGE_SIZES = [4096, 16_384, 65_536]

function stateOf(problems: readonly Problem[], isWhole: boolean): ArchiveSummary['state'] {
  if (problems.some(({ weight }) => weight === 'damage')) return 'damaged'
  return isWhole && !problems.some(({ weight }) => weight === 'cut') ? 'whole' : 'incomplete'
}
