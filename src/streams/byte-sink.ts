/** Accepts bytes, one piece after another. The caller must end or close every sink. */
export interface ByteSink {
  /**
   * Consumes the piece before it returns, and resolves when the buffer may be reused. The caller
   * may write the next piece earlier.
   */
  readonly write: (piece: Buffer) => Promise<void>
  /** Resolves when all bytes have been delivered. */
  readonly end: () => Promise<void>
  /** Releases all resources without completing the output. */
  readonly close: () => void
}
