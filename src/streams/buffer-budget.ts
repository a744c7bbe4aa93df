/** Memory for the small pieces of all that is being read at once; with more readers than it has room for each gets little, but some. */
const BUDGET_BYTES = 16 * 1024 * 1024

const LARGEST_BYTES = 128 * 1024
const SMALLEST_BYTES = 16 * 1024

/** A reader takes some tenth of what is left: a dozen have the largest pieces, and the next ones less and less. */
const SHARE = 1 / 96

let leftBytes = BUDGET_BYTES

/** How large the pieces of one more reader may be, of which it has so many. `free` is to be called once. */
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
