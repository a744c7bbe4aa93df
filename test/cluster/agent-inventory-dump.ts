import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentInNode } from './agent-in-node.ts'
import { listCheckpoints } from './agent-inventory.ts'
import type { Watch } from './agent-watch.ts'
import type { ArchiveFolder } from './archive-folder.ts'
import { findWriters } from './open-files.ts'

/** What the agent said of an archive at one moment. */
export interface Sighting {
  /** When its word came, as `performance.now()` tells it. */
  readonly at: number
  readonly by: 'list' | 'watch'
  readonly state: string
  readonly sizeBytes: number
}

/** What the agent said of one archive, and what the kernel says of its file. */
export interface DumpRecord {
  /** In the order in which they came. */
  readonly sightings: readonly Sighting[]
  /** When somebody was first seen to have the file open for writing. */
  readonly firstOpenAt: number
  /** When it was last so: what came before then was said of a file that was being written. */
  readonly lastOpenAt: number
  /** How often it was looked at while it was open. */
  readonly looksWhileOpen: number
  /** The smallest and the largest that was seen while it was open. */
  readonly sizesWhileOpen: readonly [number, number]
}

export interface DumpObservation {
  stop(): Promise<DumpRecord>
}

const LOOK_EVERY_MS = 10

/** Of the archive, not yet there, whose name will begin like this. The watch must be one that has been open before. */
export function observeDump(
  beginning: string,
  { agent, watch, folder }: { readonly agent: AgentInNode; readonly watch: Watch; readonly folder: ArchiveFolder },
): DumpObservation {
  const stop = new AbortController()
  const listed: Sighting[] = []
  const open = {
    firstAt: Number.POSITIVE_INFINITY,
    lastAt: 0,
    looks: 0,
    smallest: Number.POSITIVE_INFINITY,
    largest: 0,
  }

  const observing = (async () => {
    while (!stop.signal.aborted) {
      const rows = await listCheckpoints(agent)
      const at = performance.now()
      for (const { fileName, state, sizeBytes } of rows)
        if (fileName.startsWith(beginning)) listed.push({ at, by: 'list', state, sizeBytes })
      lookAtFile()
      await sleep(LOOK_EVERY_MS)
    }
  })()
  // whoever stops it is told
  observing.catch(() => undefined)

  function lookAtFile(): void {
    // before the look: at this moment it was open if the look finds it so
    const at = performance.now()
    const [name, sizeBytes = 0] = [...folder.list()].find(([candidate]) => candidate.startsWith(beginning)) ?? []
    if (name === undefined || findWriters(join(folder.path, name)).length === 0) return
    open.firstAt = Math.min(open.firstAt, at)
    open.lastAt = at
    open.looks += 1
    open.smallest = Math.min(open.smallest, sizeBytes)
    open.largest = Math.max(open.largest, sizeBytes)
  }

  return {
    async stop() {
      stop.abort()
      await observing
      return {
        sightings: [...listed, ...watched(watch, beginning)].toSorted((one, other) => one.at - other.at),
        firstOpenAt: open.firstAt,
        lastOpenAt: open.lastAt,
        looksWhileOpen: open.looks,
        sizesWhileOpen: [open.smallest, open.largest],
      }
    },
  }
}

function watched(watch: Watch, beginning: string): readonly Sighting[] {
  return watch.events().flatMap(({ at, data: { fileName, state = '', sizeBytes = 0 } }) => {
    return fileName?.startsWith(beginning) === true ? [{ at, by: 'watch' as const, state, sizeBytes }] : []
  })
}
