import type { Problem } from '../../checkpoint/problem.ts'
import { ConflictError, UnavailableError, UnprocessableError } from '../../shared/errors.ts'

/** Resource that an archive used too much of. `itself`: its reader crashed. */
export type Expense = 'memory' | 'cpu' | 'itself'

const DETAILS: Readonly<Record<Expense, string>> = {
  memory: 'to look into it takes more memory than an archive may take',
  cpu: 'to look into it takes more processor time than an archive may take',
  itself: 'the process that looks into it dies of it',
}

/**
 * Returns the finding as a note, not damage. The content is unknown, but the archive is hashed, kept and sent like any
 * other.
 */
export function problemOfExpense(expense: Expense): Problem {
  return { code: 'TooExpensive', weight: 'note', detail: DETAILS[expense] }
}

export function tooExpensive({ code, detail }: Problem): UnprocessableError {
  return new UnprocessableError(`Cannot look into the archive: ${detail}`, {
    code,
    hint: 'It is kept all the same: download it whole, and look into it where its cost does no harm.',
  })
}

export function notReadable(code: string): ConflictError {
  return new ConflictError(`Cannot look into the archive: the file system says ${code}`, {
    code: 'NotReadable',
    hint: "See the checkpoint's problems: the file belongs to somebody else, or its disk is failing.",
  })
}

export function readerUnavailable(): UnavailableError {
  return new UnavailableError('Cannot look into the archive: the process that reads it was ended again and again', {
    code: 'ReaderUnavailable',
    hint: 'Ask again. If it stays: the node is short of memory, or somebody ends the processes of the agent; see its log.',
  })
}
