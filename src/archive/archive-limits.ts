/**
 * What an archive may cost us. An archive beyond one of these is damaged, never read in part: real ones stay far below,
 * and whoever can write into the directory chooses every byte.
 */

const KIB = 1024
const MIB = 1024 * KIB

export const TAR_BLOCK_BYTES = 512

/** The part of an archive that is in memory at once; what is larger is read by itself. */
export const WINDOW_BYTES = MIB
/** What is read around a header of a file: small members beside it come along, memory pages mostly do not. */
export const SEEK_READ_BYTES = 16 * KIB
/** What is read of a stream, which cannot be seeked in. */
export const READ_AHEAD_BYTES = 64 * KIB

/** A process has seven images and one per thread: enough for tens of thousands of threads. */
export const MAX_MEMBERS = 200_000
export const MAX_NAME_BYTES = 4096
/** All names together: they are kept while an archive is read, to find one that comes twice. */
export const MAX_ALL_NAMES_BYTES = 16 * MIB
/** Real extended headers hold some hundred bytes. */
export const MAX_PAX_BYTES = MIB
export const MAX_GNU_NAME_BYTES = 64 * KIB
/** Zeros after the end that some writers pad with; beyond this the rest is not looked at. */
export const MAX_PADDING_BYTES = MIB

/** Podman's `config.dump` has 24 kB; an annotation may hold a whole manifest of 256 kB. */
export const MAX_JSON_BYTES = 4 * MIB
/** The specification of a container is some eight levels deep. */
export const MAX_JSON_DEPTH = 64
/** Digits of a number that we keep: 64 bits have twenty. */
export const MAX_NUMBER_DIGITS = 20
/** Names of images, pods, runtimes; a longer one is left out. */
export const MAX_TEXT_CHARACTERS = 4096

/** The version stands in the first lines of CRIU's log. */
export const DUMP_LOG_HEAD_BYTES = 4 * KIB
/** Of an image that a summary needs: half a million processes. */
export const MAX_IMAGE_BYTES = 16 * MIB
/** Numbers of processes taken from image names, to find images that the process tree does not know. */
export const MAX_NAMED_PROCESSES = 200_000

/** Podman writes zstd with a window of 8 MiB; a larger one than this costs the memory of the node. */
export const MAX_ZSTD_WINDOW_LOG = 27
/** What decompression may give in all: the memory of a large node. */
export const MAX_DECOMPRESSED_BYTES = 1024 * 1024 * MIB
/** Output for each byte of input. gzip cannot give more than 1032; memory that is all zeros comes near. */
export const MAX_COMPRESSION_RATIO = 1000
/** The ratio counts from here on: a small bomb does no harm. */
export const RATIO_FREE_BYTES = 256 * MIB
/** Members of gzip and frames of zstd cost more than their bytes: beyond the free ones, each must give this much. */
export const FREE_FRAMES = 1000
export const MIN_FRAME_BYTES = 4 * KIB
