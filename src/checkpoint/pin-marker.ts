/** A pinned archive has a marker beside it: `<archive>.keep`, which checkpoint-restore-operator shares. */
export const PIN_SUFFIX = '.keep'

/** A marker that is being written. */
export const PIN_DRAFT_SUFFIX = '.keep.tmp'

/** The name of the marker of this archive. */
export function pinMarkerOf(archiveName: string): string {
  return `${archiveName}${PIN_SUFFIX}`
}

/** The archive whose marker, or draft of a marker, has this name; the name itself where it is no marker. */
export function archiveOfMarker(name: string): string {
  return name.replace(/\.keep(?:\.tmp)?$/, '')
}
