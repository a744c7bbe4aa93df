/** Finds the candidate that the user probably meant; undefined if none is similar. */
export function nearestName(name: string, candidates: readonly string[]): string | undefined {
  // No candidate is that long, and the comparison takes time proportional to the length.
  if (name.length > 100) return undefined
  const wanted = plain(name)
  const sameEnd = candidates.filter((candidate) => lastPart(candidate) === lastPart(name))
  if (sameEnd.length === 1) return sameEnd[0]
  let nearest: string | undefined
  let least = Math.max(2, Math.floor(wanted.length / 4)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(wanted, plain(candidate))
    if (distance < least) {
      least = distance
      nearest = candidate
    }
  }
  return nearest
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, '')
}

function lastPart(name: string): string {
  return plain(name.slice(name.lastIndexOf('.') + 1))
}

/** Counts the characters to add, remove or change to turn one text into the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let line = 1; line <= from.length; line++) {
    const next = [line]
    for (let column = 1; column <= to.length; column++) {
      const changed = (row[column - 1] ?? 0) + (from[line - 1] === to[column - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}
