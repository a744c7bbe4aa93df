/** First four bytes of every image except the inventory. */
export const COMMON_MAGIC = 0x54564319
/** First four bytes of the files that CRIU writes for its caller, such as statistics. */
export const SERVICE_MAGIC = 0x55105940

/** Next four bytes, which identify the kind of image. */
export const IMAGE_MAGIC = {
  inventory: 0x58313116,
  pstree: 0x50273030,
  stats: 0x57093306,
} as const

export type ImageKind = keyof typeof IMAGE_MAGIC
