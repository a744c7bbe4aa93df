import { MAX_PER_CODE, type Problem } from '../checkpoint/problem.ts'
import { type ArchiveProblemCode, archiveProblem } from './archive-problem.ts'

/** Reports a problem. The detail is computed only if it will be read. */
export type Report = (code: ArchiveProblemCode, detail: () => string) => void

/**
 * Creates a reporter that computes the detail of only the first few problems per code. Lists only
 * count the others. An archive can have the same problem 200,000 times, and formatting every one
 * would take longer than all other work.
 */
export function reporterTo(onProblem: (problem: Problem) => void): Report {
  const counts = new Map<ArchiveProblemCode, number>()
  return (code, detail) => {
    const count = (counts.get(code) ?? 0) + 1
    counts.set(code, count)
    onProblem(archiveProblem(code, count <= MAX_PER_CODE ? detail() : ''))
  }
}
