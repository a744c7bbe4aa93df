/**
 * Buffer memory for all readers together. Once it is used up, every further reader still gets the
 * smallest size.
 */
const BUDGET_BYTES = 16 * 1024 * 1024

const LARGEST_BYTES = 128 * 1024
const SMALLEST_BYTES = 16 * 1024

/**
 * Fraction of the remaining budget per piece. About a dozen readers get the largest pieces, and
 * later ones smaller ones.
 */
const SHARE = 1 / 96

let leftBytes = BUDGET_BYTES

/** Reserves buffers for a reader and returns their size. Call `free` exactly once. */
export function takeShare(pieces: number): { readonly pieceBytes: number; readonly free: () => void } {
  const pieceBytes = Math.min(LARGEST_BYTES, Math.max(SMALLEST_BYTES, roundDown(leftBytes * SHARE)))
  leftBytes -= pieces * pieceBytes
  return {
    pieceBytes,
    free: () => {
      leftBytes += pieces * pieceBytes
    },
  }
}

function roundDown(bytes: number): number {
  return Math.floor(bytes / SMALLEST_BYTES) * SMALLEST_BYTES
}
