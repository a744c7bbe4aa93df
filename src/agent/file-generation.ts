import type { BigIntStats } from 'node:fs'

/** Which file it is, and in which state: another inode, size or time of change is another generation. */
export interface FileGeneration {
  readonly inode: bigint
  readonly sizeBytes: bigint
  readonly mtimeNs: bigint
}

export function toGeneration({ ino, size, mtimeNs }: BigIntStats): FileGeneration {
  return { inode: ino, sizeBytes: size, mtimeNs }
}

export function sameGeneration(a: FileGeneration, b: FileGeneration): boolean {
  return a.inode === b.inode && a.sizeBytes === b.sizeBytes && a.mtimeNs === b.mtimeNs
}
