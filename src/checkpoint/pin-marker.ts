/**
 * Suffix of the marker next to a pinned archive: `<archive>.keep`, as in
 * checkpoint-restore-operator.
 */
export const PIN_SUFFIX = '.keep'

/** Suffix of a marker that is still being written. */
export const PIN_DRAFT_SUFFIX = '.keep.tmp'

/** Returns the name of an archive's marker. */
export function pinMarkerOf(archiveName: string): string {
  return `${archiveName}${PIN_SUFFIX}`
}

/**
 * Returns the name of the archive that a marker or its draft belongs to; any other name is returned
 * unchanged.
 */
export function archiveOfMarker(name: string): string {
  return name.replace(/\.keep(?:\.tmp)?$/, '')
}
