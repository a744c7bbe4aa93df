/**
 * Severity of a problem. `damage`: no engine writes this, so the archive is not trustworthy. `cut`:
 * the end is missing; the file may still be being written. `note`: the archive is usable, but
 * unusual.
 */
export type ProblemWeight = 'damage' | 'cut' | 'note'

/** A defect or peculiarity of an archive. `detail` is safe to display. */
export interface Problem {
  /** Stable name, part of the API. */
  readonly code: string
  readonly weight: ProblemWeight
  readonly detail: string
}

/** Stops reading the affected part of an archive. Never leaves the archive reader. */
export class ProblemError extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail}`)
    this.name = 'ProblemError'
    this.problem = problem
  }
}

/** Problems kept per code, because an archive can have the same problem a million times. */
export const MAX_PER_CODE = 3

/** Collects problems: the first few of each code in full, and the number of the others. */
export class ProblemList {
  readonly #problems: Problem[] = []
  readonly #counts = new Map<string, number>()

  add(problem: Problem): void {
    const count = (this.#counts.get(problem.code) ?? 0) + 1
    this.#counts.set(problem.code, count)
    if (count <= MAX_PER_CODE) this.#problems.push(problem)
  }

  has(code: string): boolean {
    return this.#counts.has(code)
  }

  list(): readonly Problem[] {
    const tooMany = [...this.#counts].filter(([, count]) => count > MAX_PER_CODE)
    if (tooMany.length === 0) return this.#problems
    const problems = [...this.#problems]
    for (const [code, count] of tooMany) {
      const last = problems.findLastIndex((problem) => problem.code === code)
      const problem = problems[last]
      if (problem !== undefined) {
        problems[last] = { ...problem, detail: `${problem.detail}, and ${count - MAX_PER_CODE} more of this kind` }
      }
    }
    return problems
  }
}
