/**
 * What a problem says about its archive. `damage`: nothing that an engine writes, do not trust it. `cut`: the end is
 * missing, it may still be being written. `note`: whole and usable, but worth knowing.
 */
export type ProblemWeight = 'damage' | 'cut' | 'note'

/** Something that is wrong or unusual in an archive. `detail` is text that can be shown anywhere. */
export interface Problem {
  /** Stable name, part of the API. */
  readonly code: string
  readonly weight: ProblemWeight
  readonly detail: string
}

/** Ends the reading of the part that has the problem. It never leaves the reader of an archive. */
export class ProblemError extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail}`)
    this.name = 'ProblemError'
    this.problem = problem
  }
}

/** An archive can have one problem a million times. */
export const MAX_PER_CODE = 3

/** Collects problems; of each code the first few in full, the others as a number. */
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
