import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { Actor } from '../../checkpoint/actor.ts'

/** What somebody is about to be given. */
export interface ContentIntent {
  readonly actor: Actor
  /** With generation and size of the file as it was opened. */
  readonly checkpoint: Checkpoint
  readonly what: 'archive' | 'member' | 'rootfs-diff'
  readonly member?: string
  /** Of the plain content; exclusive at its end. Absent for a list. */
  readonly range?: { readonly first: number; readonly end: number; readonly sizeBytes: number }
  readonly coding?: 'gzip' | 'zstd'
  /** `age1…`; empty: it goes out plain. */
  readonly recipients: readonly string[]
}

/** How it ended. `sentBytes` counts the plain content that may have left: it was handed to the connection. */
export interface ContentOutcome {
  readonly intent: ContentIntent
  readonly result: 'sent' | 'left' | 'failed'
  readonly sentBytes: number
  readonly error?: string
}

/** Who writes down what was given to whom. */
export interface ContentRecorder {
  /** Resolves once an entry on the disk covers the intent; where it rejects nothing is given. */
  readonly begin: (intent: ContentIntent) => Promise<void>
  /** What has been given cannot be taken back: an error here is only logged. */
  readonly end: (outcome: ContentOutcome) => Promise<void>
}
