/** In front of every image but the inventory. */
export const COMMON_MAGIC = 0x54564319
/** In front of what CRIU writes for its caller: statistics. */
export const SERVICE_MAGIC = 0x55105940

/** What an image is, in the four bytes after that. */
export const IMAGE_MAGIC = {
  inventory: 0x58313116,
  pstree: 0x50273030,
  stats: 0x57093306,
} as const

export type ImageKind = keyof typeof IMAGE_MAGIC
