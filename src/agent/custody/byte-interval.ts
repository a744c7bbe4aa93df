/** An interval of an archive's bytes; `end` is exclusive. */
export interface ByteInterval {
  readonly first: number
  readonly end: number
}

/** Minimum size of the first announcement, so that a download in small ranges needs few entries. */
const LEAST_ANNOUNCED_BYTES = 64 * 1024 * 1024

export function covers(outer: ByteInterval | undefined, inner: ByteInterval): boolean {
  return outer !== undefined && outer.first <= inner.first && inner.end <= outer.end
}

/**
 * Returns the next interval to announce. It covers the announced and the needed interval, within the archive, and has
 * at least 64 MiB and twice the previous length. Therefore 64 GiB take at most 12 entries in any order of ranges.
 */
export function growAnnounced(
  announced: ByteInterval | undefined,
  needed: ByteInterval,
  sizeBytes: number,
): ByteInterval {
  if (announced === undefined) {
    return { first: needed.first, end: Math.min(sizeBytes, Math.max(needed.end, needed.first + LEAST_ANNOUNCED_BYTES)) }
  }
  const hull = { first: Math.min(announced.first, needed.first), end: Math.max(announced.end, needed.end) }
  const missing = Math.max(LEAST_ANNOUNCED_BYTES, 2 * (announced.end - announced.first)) - (hull.end - hull.first)
  if (missing <= 0) return hull
  // Grows in the direction of the reads, and in the other direction if the archive ends there.
  if (needed.first < announced.first) {
    const first = Math.max(0, hull.first - missing)
    return { first, end: Math.min(sizeBytes, hull.end + missing - (hull.first - first)) }
  }
  const end = Math.min(sizeBytes, hull.end + missing)
  return { first: Math.max(0, hull.first - (missing - (end - hull.end))), end }
}

/** Adds a range to a sorted list and merges ranges that touch. */
export function addRange(ranges: ByteInterval[], { first, end }: ByteInterval): void {
  const isBefore = (range: ByteInterval) => range.end < first
  let from = 0
  while (from < ranges.length && isBefore(ranges[from] ?? { first, end })) from += 1
  let to = from
  const merged = { first, end }
  for (let range = ranges[to]; range !== undefined && range.first <= merged.end; range = ranges[to]) {
    merged.first = Math.min(merged.first, range.first)
    merged.end = Math.max(merged.end, range.end)
    to += 1
  }
  ranges.splice(from, to - from, merged)
}

/** Returns at most `most` ranges that cover at least the same bytes. Merges the ranges with the smallest gaps. */
export function mergeNearest(ranges: readonly ByteInterval[], most: number): readonly ByteInterval[] {
  if (ranges.length <= most) return ranges
  const gaps = ranges.slice(1).map((range, index) => ({ index, bytes: range.first - (ranges[index]?.end ?? 0) }))
  const widest = gaps.toSorted((a, b) => b.bytes - a.bytes).slice(0, most - 1)
  const isKept = new Set(widest.map(({ index }) => index))
  const merged: { first: number; end: number }[] = []
  for (const [index, { first, end }] of ranges.entries()) {
    const last = merged.at(-1)
    if (last === undefined || isKept.has(index - 1)) merged.push({ first, end })
    else last.end = end
  }
  return merged
}

/** Formats the interval as HTTP does, with an inclusive last byte. */
export function rangeText({ first, end }: ByteInterval): string {
  return `${first}-${end - 1}`
}
