/**
 * Result of a verification. `authentic`: everything was checked against a given key.
 * `not-authenticated`: there is no defect, but no such check confirms the origin. `broken`: the
 * content differs from what was signed or written.
 */
export type Verdict = 'authentic' | 'not-authenticated' | 'broken'

/** Exit codes of the verify commands; 2 means that the verification could not run. */
export const EXIT_CODES: Readonly<Record<Verdict, number>> = { authentic: 0, broken: 1, 'not-authenticated': 3 }
