import { MAX_PER_CODE, type Problem } from '../checkpoint/problem.ts'
import { type ArchiveProblemCode, archiveProblem } from './archive-problem.ts'

/** Tells of a problem; what it says is made only where somebody will read it. */
export type Report = (code: ArchiveProblemCode, detail: () => string) => void

/**
 * Lists keep the first few problems of a code and count the others. An archive can have one 200,000 times, and to put
 * each into words would take longer than everything else: what is only counted has none.
 */
export function reporterTo(onProblem: (problem: Problem) => void): Report {
  const counts = new Map<ArchiveProblemCode, number>()
  return (code, detail) => {
    const count = (counts.get(code) ?? 0) + 1
    counts.set(code, count)
    onProblem(archiveProblem(code, count <= MAX_PER_CODE ? detail() : ''))
  }
}
