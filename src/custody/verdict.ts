/**
 * What verifying has found. `authentic`: everything was checked against a key that was given. `not-authenticated`: nothing
 * is wrong with it, and no such check says whose it is. `broken`: something is not as it was signed or written.
 */
export type Verdict = 'authentic' | 'not-authenticated' | 'broken'

/** 2 is for commands that could not be carried out. */
export const EXIT_CODES: Readonly<Record<Verdict, number>> = { authentic: 0, broken: 1, 'not-authenticated': 3 }
