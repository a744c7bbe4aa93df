import { checkpointChanged } from '../../checkpoint/changed-error.ts'
import { ProblemError } from '../../checkpoint/problem.ts'
import type { ReaderRefusal } from './reader-messages.ts'
import { notReadable } from './too-expensive.ts'

/** Converts a refusal to an error for a caller. */
export function refusalError(refusal: ReaderRefusal, signal?: AbortSignal): Error {
  signal?.throwIfAborted()
  switch (refusal.kind) {
    case 'changed':
      return checkpointChanged('look into the archive')
    case 'unreadable':
      return notReadable(refusal.code)
    case 'problem':
      return new ProblemError(refusal.problem)
    case 'large-window':
    case 'cancelled':
    case 'failed':
      break
  }
  return new Error(`the reader answered "${refusal.kind}"`)
}
