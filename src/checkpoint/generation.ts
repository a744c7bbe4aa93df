import type { BigIntStats } from 'node:fs'

/**
 * Identifies a file in its present state. A different inode, size or modification time is a
 * different generation.
 */
export function generationOf({ ino, size, mtimeNs }: BigIntStats): string {
  return `${ino}:${size}:${mtimeNs}`
}

/** Returns the part of a generation that stays the same while the file is being written. */
export function inodeOf(generation: string): string {
  return generation.slice(0, generation.indexOf(':'))
}

export function sizeOf(generation: string): number {
  return Number(generation.split(':')[1])
}
