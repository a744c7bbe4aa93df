/**
 * Limits on the cost of reading an archive. One beyond a limit counts as damaged and is never read
 * in part. Real archives stay far below, but any process that can write to the directory controls
 * every byte.
 */

const KIB = 1024
const MIB = 1024 * KIB

export const TAR_BLOCK_BYTES = 512

/** Bytes of an archive in memory at a time; larger parts are read separately. */
export const WINDOW_BYTES = MIB
/**
 * Bytes read around the header of a member, which include small members next to it but rarely
 * memory pages.
 */
export const SEEK_READ_BYTES = 16 * KIB
/** Bytes read at a time from a stream, which does not support seeking. */
export const READ_AHEAD_BYTES = 64 * KIB

/**
 * Members per archive. A process has seven images and one per thread: enough for tens of thousands
 * of threads.
 */
export const MAX_MEMBERS = 200_000
export const MAX_NAME_BYTES = 4096
/** Bytes of all names, which stay in memory to detect duplicates. */
export const MAX_ALL_NAMES_BYTES = 16 * MIB
/** Bytes of an extended header; real ones have some hundred. */
export const MAX_PAX_BYTES = MIB
export const MAX_GNU_NAME_BYTES = 64 * KIB
/** Zeros accepted after the end, which some writers add as padding; later bytes are not read. */
export const MAX_PADDING_BYTES = MIB

/**
 * Bytes of a JSON member. Podman's `config.dump` has 24 kB, and an annotation may contain a whole
 * manifest of 256 kB.
 */
export const MAX_JSON_BYTES = 4 * MIB
/** JSON nesting; the specification of a container has about eight levels. */
export const MAX_JSON_DEPTH = 64
/** Digits of a number; 64 bits have twenty. */
export const MAX_NUMBER_DIGITS = 20
/** Characters in names of images, pods and runtimes; a longer name is a problem. */
export const MAX_TEXT_CHARACTERS = 4096

/** Bytes read of CRIU's log, whose first lines contain the version. */
export const DUMP_LOG_HEAD_BYTES = 4 * KIB
/** Bytes of an image that a summary needs: half a million processes. */
export const MAX_IMAGE_BYTES = 16 * MIB
/** Process ids taken from image names, to find images of processes that the process tree lacks. */
export const MAX_NAMED_PROCESSES = 200_000

/**
 * Largest zstd window as a logarithm. Podman uses 8 MiB; larger windows cost memory of the node.
 */
export const MAX_ZSTD_WINDOW_LOG = 27
/** Total bytes of decompressed output: the memory of a large node. */
export const MAX_DECOMPRESSED_BYTES = 1024 * 1024 * MIB
/**
 * Bytes of output per byte of input. gzip is limited to 1032, and zeroed memory comes close to
 * that.
 */
export const MAX_COMPRESSION_RATIO = 1000
/** Bytes of output before the ratio counts; a small bomb is harmless. */
export const RATIO_FREE_BYTES = 256 * MIB
/**
 * Members of gzip and frames of zstd that may be nearly empty. Each has a fixed cost, so further
 * ones must produce this much output on average.
 */
export const FREE_FRAMES = 1000
export const MIN_FRAME_BYTES = 4 * KIB
