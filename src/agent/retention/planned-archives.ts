import type { PlannedArchive } from '../../retention/plan-types.ts'
import type { RetentionRow } from '../../store/retention-rows.ts'

/** Rows as a plan takes them. */
export function toPlannedArchives(
  rows: readonly RetentionRow[],
  { nowMillis, inUse }: { readonly nowMillis: number; readonly inUse: ReadonlySet<string> },
): PlannedArchive[] {
  return rows.map((row) => ({
    id: row.id,
    fileName: row.fileName,
    generation: row.generation,
    state: row.state,
    identity: {
      ...(row.namespace !== null && { namespace: row.namespace }),
      ...(row.pod !== null && { pod: row.pod }),
      ...(row.podUid !== null && { podUid: row.podUid }),
      ...(row.container !== null && { container: row.container }),
      source: row.source,
      isBelieved: row.isBelieved,
    },
    engine: row.engine,
    sizeBytes: row.sizeBytes,
    takenAtMillis: row.takenAtMillis,
    modifiedAtMillis: modifiedAt(row.generation),
    isPinned: row.isPinned,
    isInUse: inUse.has(row.id),
    ...(row.goneMillis !== undefined && { orphanSinceMillis: nowMillis - row.goneMillis }),
  }))
}

/** The last part of a generation is in nanoseconds. */
function modifiedAt(generation: string): number {
  return Number(generation.slice(generation.lastIndexOf(':') + 1, -6))
}
