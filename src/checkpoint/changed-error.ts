import { ConflictError } from '../shared/errors.ts'

export interface ChangedDetails {
  readonly cause?: string
  readonly hint?: string
}

/**
 * Creates the error for an action whose file is no longer the one that the caller meant
 * (`CheckpointChanged`). `action` names the failed action, as in `verify checkpoint
 * "9f2c4e5a7b1d3c60"`.
 */
export function checkpointChanged(action: string, { cause, hint }: ChangedDetails = {}): ConflictError {
  return new ConflictError(`Cannot ${action}: ${cause ?? 'its file was replaced, changed or removed a moment ago'}`, {
    code: 'CheckpointChanged',
    hint: hint ?? 'Read the checkpoint again, and ask anew.',
  })
}
