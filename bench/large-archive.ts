import { closeSync, ftruncateSync, openSync, utimesSync, writeSync } from 'node:fs'
import { buildArchive } from '../test/support/archive-builder.ts'
import { paxMember, rawHeader, splitTar } from '../test/support/raw-tar.ts'

const PAGES = 'checkpoint/pages-1.img'
const BLOCK_BYTES = 512
const TAKEN_AT = new Date('2026-06-12T10:05:00Z')

/** Writes a whole archive whose memory pages are a hole: any size, at once, in no room on the disk. */
export function writeLargeArchive(path: string, memoryBytes: number): void {
  const members = splitTar(Buffer.concat([...buildArchive().chunks()]))
  const file = openSync(path, 'w', 0o600)
  try {
    let position = 0
    for (const { name, blocks } of members) {
      const content = name === PAGES ? largeHeader(memoryBytes) : blocks
      position += writeSync(file, content, 0, content.length, position)
      if (name === PAGES) position += memoryBytes
    }
    ftruncateSync(file, position + 2 * BLOCK_BYTES)
  } finally {
    closeSync(file)
  }
  utimesSync(path, TAKEN_AT, TAKEN_AT)
}

/** Beyond 8 GiB the size has no room in the header itself. */
function largeHeader(memoryBytes: number): Buffer {
  const modified = TAKEN_AT.getTime() / 1000
  if (memoryBytes < 8 * 1024 ** 3) return rawHeader({ name: PAGES, size: memoryBytes, modified })
  return Buffer.concat([paxMember({ size: String(memoryBytes) }), rawHeader({ name: PAGES, size: 0, modified })])
}
