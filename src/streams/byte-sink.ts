/** Where bytes go, one piece after the other. What was begun must be ended or closed. */
export interface ByteSink {
  /**
   * Takes the piece before it returns, and resolves when its buffer may be used again. The next one may be written
   * before that.
   */
  readonly write: (piece: Buffer) => Promise<void>
  /** Resolves when all is handed over. */
  readonly end: () => Promise<void>
  /** Lets go of everything, without an end. */
  readonly close: () => void
}
