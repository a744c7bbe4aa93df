import type { ImageDirectory } from './image-directory.ts'

/** `(00.000038) Version: 4.2.1 (gitid 0)`: the only place where CRIU says its version. Undefined where it does not. */
export function readCriuVersion(images: ImageDirectory): string | undefined {
  const head = images.read('dump.log')
  // Bytes: the log quotes names of files.
  return head === undefined ? undefined : VERSION.exec(head.toString('latin1'))?.[1]
}

const VERSION = /^\(\d{1,9}\.\d{1,9}\) Version: (\d[0-9A-Za-z.+~-]{0,39})(?= |$)/m
