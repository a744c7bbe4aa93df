import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { Actor } from '../../checkpoint/actor.ts'

/** Content that is about to be sent to a user. */
export interface ContentIntent {
  readonly actor: Actor
  /** The checkpoint with the generation and size of the opened file. */
  readonly checkpoint: Checkpoint
  readonly what: 'archive' | 'member' | 'rootfs-diff'
  readonly member?: string
  /** Range of the plain content; its end is exclusive. Absent for a list. */
  readonly range?: { readonly first: number; readonly end: number; readonly sizeBytes: number }
  readonly coding?: 'gzip' | 'zstd'
  /** Recipients (`age1…`). If empty, the content is sent unencrypted. */
  readonly recipients: readonly string[]
}

/**
 * Describes how a download ended. `sentBytes` counts plain content handed to the connection, which may have been sent.
 */
export interface ContentOutcome {
  readonly intent: ContentIntent
  readonly result: 'sent' | 'left' | 'failed'
  readonly sentBytes: number
  readonly error?: string
}

/** Records which content was sent to which user. */
export interface ContentRecorder {
  /** Resolves once an entry on disk covers the intent. If it rejects, nothing is sent. */
  readonly begin: (intent: ContentIntent) => Promise<void>
  /** Records the outcome. An error here is only logged because sent content cannot be recalled. */
  readonly end: (outcome: ContentOutcome) => Promise<void>
}
