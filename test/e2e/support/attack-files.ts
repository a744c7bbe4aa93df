import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { HOSTILE_ARCHIVES, smallBomb, sparseHead, type Bytes } from './attack-archives.ts'

const MIB = 1024 * 1024

/** How many of the small ones come beside the others, all at once. */
const SWARM = 150

export interface HostileArchive {
  readonly fileName: string
  readonly sizeBytes: number
}

/** Makes them beside the directory. `publish` lets those with this in their name appear at once, the small ones first. */
export async function makeHostileArchives(directory: string) {
  const workshop = mkdtempSync(`${directory}-`)
  const archives: HostileArchive[] = []
  const make = (name: string, write: (file: number) => number) => {
    const fileName = `checkpoint-${name}_evil-x-2026-06-12T10:00:00Z.tar`
    const file = openSync(join(workshop, fileName), 'w', 0o600)
    const sizeBytes = write(file)
    closeSync(file)
    archives.push({ fileName, sizeBytes })
  }
  for (const [name, build] of Object.entries(HOSTILE_ARCHIVES)) {
    const bytes = await build()
    make(name, (file) => writeAll(file, bytes))
  }
  make('sparse', (file) => {
    ftruncateSync(file, 1024 * MIB)
    writeSync(file, sparseHead(), 0, undefined, 0)
    return 1024 * MIB
  })
  const small = smallBomb()
  for (let index = 0; index < SWARM; index += 1) make(`swarm-${String(index)}`, (file) => writeAll(file, small))
  return {
    archives,
    publish: (name = '') => {
      for (const { fileName } of archives.toSorted((a, b) => a.sizeBytes - b.sizeBytes)) {
        const from = join(workshop, fileName)
        if (fileName.includes(name) && existsSync(from)) renameSync(from, join(directory, fileName))
      }
    },
  }
}

function writeAll(file: number, bytes: Bytes): number {
  let sizeBytes = 0
  for (const part of bytes instanceof Uint8Array ? [bytes] : bytes) {
    for (let at = 0; at < part.length; at += writeSync(file, part, at));
    sizeBytes += part.length
  }
  return sizeBytes
}
