export type ContentCoding = 'gzip' | 'zstd'

/** The better one first: it wins where the caller likes both as much. */
const CODINGS: readonly ContentCoding[] = ['zstd', 'gzip']

/**
 * The coding that the caller likes best; undefined for none, which is as good as any coding that it does not name. `*`
 * names none: who says it would take anything gets what is there.
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

/** Names in small letters; what cannot be read counts as not wanted. */
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
