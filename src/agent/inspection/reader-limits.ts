/**
 * What reading hostile archives may cost the node. Beyond one of these the reader's process is ended, the archive is
 * read once more by itself, and then it is `TooExpensive`: a note, for it is still hashed, kept and handed out.
 */

const KIB = 1024
const MIB = 1024 * KIB

/** A frame beyond this is refused before it is read, in both directions. */
export const MAX_FRAME_BYTES = MIB
/** Of a page of members or changes, as JSON: the rest of the frame is for problems and for what stands around it. */
export const MAX_PAGE_BYTES = 768 * KIB
/** A piece of an unpacked member. */
export const PIECE_BYTES = 256 * KIB

/** Of all readers together, what they share counted once. With the agent's own 100 MiB, and what one may take between two looks, it stays below 300. */
export const MAX_READERS_BYTES = 160 * MIB
/** Who has less than this of it by itself is ended for the others' sake, and its archive is no more expensive than theirs. */
export const ALONE_SHARE = 0.85
/** An allocator in steps of 8 MiB overshoots by a few MiB at this pace; at 50 ms by 80. */
export const WATCH_MS = 20
/** zstd keeps a window of the archive's choice in memory: Podman writes 2^23. A larger one needs a permit, of which there is one. */
export const FREE_WINDOW_LOG = 23

/**
 * Processor time for one archive: what any archive may take, and what its bytes add. The walk over 200,000 members, the
 * most there may be, takes a second; a large packed archive goes by its bytes, some 0.02 s for each packed MiB of real memory.
 */
const BASE_CPU_MS = 20_000
const CPU_MS_PER_MIB = 500

export function cpuBudgetMs(sizeBytes: number): number {
  return BASE_CPU_MS + (sizeBytes / MIB) * CPU_MS_PER_MIB
}

/** Items of one request: few enough to try again, enough that asking costs next to nothing. */
export const BATCH_ITEMS = 32

/** A reader that nobody needs goes away: idle it takes some 20 MiB of its own. */
export const REST_MS = 60_000

/** Members that are being unpacked for callers at once, in a process each. */
export const MAX_STREAMS = 2

/** How often an archive is begun again because the reader was ended by somebody else, or for another's memory. */
export const MAX_INTERRUPTIONS = 8
/** Between two starts after a reader was ended by somebody else; doubled each time, so that a killer makes no busy loop. */
export const FIRST_PAUSE_MS = 20
export const MAX_PAUSE_MS = 2000

/** Part of what a finding is kept by: another version may find the same archive cheap. */
export const READER_VERSION = 1
