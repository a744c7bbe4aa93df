export type ContentCoding = 'gzip' | 'zstd'

/** Supported codings, best first; the order breaks ties between equal weights. */
const CODINGS: readonly ContentCoding[] = ['zstd', 'gzip']

/**
 * Chooses the coding that the client prefers; undefined for none. A coding that the client does not name is never used.
 * `*` names no coding, so it yields unencoded content.
 */
export function chooseCoding(acceptEncoding: string | undefined): ContentCoding | undefined {
  const weights = readWeights(acceptEncoding ?? '')
  const plain = weights.get('identity') ?? 0
  let best: ContentCoding | undefined
  for (const coding of CODINGS) {
    const weight = weights.get(coding) ?? 0
    if (weight > 0 && weight >= plain && weight > (weights.get(best ?? '') ?? 0)) best = coding
  }
  return best
}

/** Parses the header to weights by lowercase name; an invalid weight counts as 0. */
function readWeights(header: string): ReadonlyMap<string, number> {
  const weights = new Map<string, number>()
  for (const part of header.split(',')) {
    const [name = '', ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase())
    if (name === '') continue
    const quality = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? '1'
    weights.set(
      name === 'x-gzip' ? 'gzip' : name,
      /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(quality) ? Number(quality) : 0,
    )
  }
  return weights
}
