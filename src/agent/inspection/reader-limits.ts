/**
 * Limits of the cost of untrusted archives for the node. If a limit is exceeded, the reader process is ended and the
 * archive is read again on its own. If that fails too, the archive is `TooExpensive`. This is a note: the archive is
 * still hashed, kept and sent.
 */

const KIB = 1024
const MIB = 1024 * KIB

/** Maximum size of a frame, in both directions. A larger one is refused before it is read. */
export const MAX_FRAME_BYTES = MIB
/**
 * Maximum size of a page of members or changes as JSON. The rest of the frame is for findings and the surrounding
 * fields.
 */
export const MAX_PAGE_BYTES = 768 * KIB
/** Size of one piece of a decompressed member. */
export const PIECE_BYTES = 256 * KIB

/**
 * Memory of all readers together, with shared memory counted once. With the agent's own 100 MiB and the growth between
 * two checks, the total stays below 300 MiB.
 */
export const MAX_READERS_BYTES = 160 * MIB
/**
 * Share of the limit above which a reader's own archive is too expensive. A reader with less is ended only to make room
 * for the others.
 */
export const ALONE_SHARE = 0.85
/**
 * Interval between checks. At this interval, an allocation in steps of 8 MiB exceeds the limit by a few MiB; at 50 ms
 * by 80 MiB.
 */
export const WATCH_MS = 20
/**
 * Largest zstd window that needs no permit; Podman writes 2^23. The archive chooses the size of the window, which is
 * held in memory. There is one permit for larger ones.
 */
export const FREE_WINDOW_LOG = 23

/**
 * CPU time for one archive: a base and an amount for each MiB. Reading 200,000 members, the maximum, takes a second. A
 * large compressed archive needs about 0.02 s for each compressed MiB of real memory.
 */
const BASE_CPU_MS = 20_000
const CPU_MS_PER_MIB = 500

export function cpuBudgetMs(sizeBytes: number): number {
  return BASE_CPU_MS + (sizeBytes / MIB) * CPU_MS_PER_MIB
}

/** Archives of one request: few enough to repeat, and enough to make the cost of a request negligible. */
export const BATCH_ITEMS = 32

/** Time after which an idle reader ends. It holds about 20 MiB of its own. */
export const REST_MS = 60_000

/** Maximum number of members that are decompressed for callers at once, each in its own process. */
export const MAX_STREAMS = 2

/**
 * Maximum number of new attempts after a reader was ended by another program or because of another archive's memory.
 */
export const MAX_INTERRUPTIONS = 8
/**
 * First pause before a new attempt after a reader was ended by another program. It doubles each time to prevent a busy
 * loop.
 */
export const FIRST_PAUSE_MS = 20
export const MAX_PAUSE_MS = 2000

/** Version stored with each result, since another version may be able to read the same archive cheaply. */
export const READER_VERSION = 1
