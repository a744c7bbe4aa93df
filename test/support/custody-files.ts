import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CustodyEntry } from '../../src/custody/custody-entry.ts'

/** The files of a custody log, in their order. */
export function custodyFiles(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .toSorted()
}

/** What stands in it, without a last line that is being written. */
export function custodyEntries(folder: string): CustodyEntry[] {
  return custodyFiles(folder)
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as CustodyEntry)
}
