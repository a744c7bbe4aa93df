import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** Written by containerd 2.1 for a shell that counts: 259 KiB, 33 members. */
const TEMPLATE = join(import.meta.dirname, '../test/fixtures/archives/containerd-2.1-counter.tar.gz')
/** Its pod. The names that take its place are as long, so that nothing moves. */
const POD = 'web-0'

/** Older than any settling time: these are archives that nobody writes any more. */
const TAKEN_AT = new Date('2026-11-20T16:01:09Z')

/** Makes the folder with so many archives in it, each of a pod of its own and otherwise the same real one. */
export function fillArchiveFolder(directory: string, count: number): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const archive = gunzipSync(readFileSync(TEMPLATE))
  const places = findAll(archive, POD)
  for (let index = 0; index < count; index += 1) {
    for (const place of places) archive.write(podName(index), place, 'latin1')
    const path = join(directory, archiveName(index))
    writeFileSync(path, archive, { mode: 0o600 })
    utimesSync(path, TAKEN_AT, TAKEN_AT)
  }
}

export function archiveName(index: number): string {
  return `checkpoint-${podName(index)}_shop-counter-2026-11-20T16:01:09Z.tar`
}

function podName(index: number): string {
  return `p${index.toString(36).padStart(POD.length - 1, '0')}`
}

function findAll(bytes: Buffer, text: string): number[] {
  const places: number[] = []
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + text.length)) places.push(at)
  return places
}
