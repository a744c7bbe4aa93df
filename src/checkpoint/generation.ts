import type { BigIntStats } from 'node:fs'

/** Which file it is, and in which state: another inode, size or time of change is another generation. */
export function generationOf({ ino, size, mtimeNs }: BigIntStats): string {
  return `${ino}:${size}:${mtimeNs}`
}

/** The part of it that stays while the same file is being written. */
export function inodeOf(generation: string): string {
  return generation.slice(0, generation.indexOf(':'))
}

export function sizeOf(generation: string): number {
  return Number(generation.split(':')[1])
}
