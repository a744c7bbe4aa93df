import type { Problem } from '../checkpoint/problem.ts'
import type { ImageDirectory } from './image-directory.ts'
import { imageError, imageProblem } from './image-problem.ts'
import { readImageEntries } from './image-reader.ts'
import { ProtobufReader } from './protobuf-reader.ts'

/**
 * The processes of a dump according to `pstree.img`. The archive may contain images of other
 * processes, left over from an earlier dump.
 */
export interface ProcessTree {
  readonly processCount: number
  /** Parent of each process by process id; 0 for a root. */
  readonly parents: ReadonlyMap<number, number>
}

/**
 * Reads `pstree.img`. Throws a ProblemError if it is missing or damaged, and reports an unusual
 * tree to `onProblem`.
 */
export function readProcessTree(images: ImageDirectory, onProblem: (problem: Problem) => void): ProcessTree {
  const bytes = images.read('pstree.img')
  if (bytes === undefined) throw imageError('NoProcessTree', 'pstree.img is missing')
  const parents = new Map<number, number>()
  let processCount = 0
  for (const entry of readImageEntries(bytes, 'pstree')) {
    const { pid, ppid } = readProcess(entry)
    if (pid === undefined || ppid === undefined) throw imageError('FieldMissing', 'pstree: a process without a number')
    if (parents.has(pid)) onProblem(imageProblem('DuplicateProcess', `pstree: process ${pid} is there twice`))
    else parents.set(pid, ppid)
    processCount += 1
  }
  if (processCount === 0) throw imageError('ImageEmpty', 'pstree: it has no process')
  judgeTree(parents, onProblem)
  return { processCount, parents }
}

const PID = 1
const PPID = 2
const THREADS = 5

function readProcess(entry: Buffer): { readonly pid: number | undefined; readonly ppid: number | undefined } {
  const reader = new ProtobufReader(entry, 'pstree')
  let pid: number | undefined
  let ppid: number | undefined
  while (reader.next()) {
    if (reader.field === PID) pid = reader.uint32()
    else if (reader.field === PPID) ppid = reader.uint32()
    // The values are ignored: for dead processes they are uninitialized memory. Their number is
    // still limited.
    else if (reader.field === THREADS) reader.valueCount()
  }
  return { pid, ppid }
}

function judgeTree(parents: ReadonlyMap<number, number>, onProblem: (problem: Problem) => void): void {
  let roots = 0
  const settled = new Set<number>()
  for (const [pid, ppid] of parents) {
    if (ppid === 0) roots += 1
    else if (!parents.has(ppid)) onProblem(imageProblem('MissingParent', `pstree: the parent of ${pid} is missing`))
    const path = new Set<number>()
    let at = pid
    while (at !== 0 && parents.has(at) && !settled.has(at)) {
      if (path.has(at)) {
        onProblem(imageProblem('ProcessCycle', `pstree: process ${at} is its own ancestor`))
        break
      }
      path.add(at)
      at = parents.get(at) ?? 0
    }
    for (const each of path) settled.add(each)
  }
  if (roots === 0) onProblem(imageProblem('NoRootProcess', 'pstree: every process has a parent'))
}
