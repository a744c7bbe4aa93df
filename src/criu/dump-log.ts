import type { ImageDirectory } from './image-directory.ts'

/**
 * Reads CRIU's version from a line such as `(00.000038) Version: 4.2.1 (gitid 0)`, the only place
 * that states it. Undefined if there is none.
 */
export function readCriuVersion(images: ImageDirectory): string | undefined {
  const head = images.read('dump.log')
  // Decoded bytewise, because the log quotes file names.
  return head === undefined ? undefined : VERSION.exec(head.toString('latin1'))?.[1]
}

const VERSION = /^\(\d{1,9}\.\d{1,9}\) Version: (\d[0-9A-Za-z.+~-]{0,39})(?= |$)/m
