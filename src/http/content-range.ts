/** The part of the content to send for a `Range` header (RFC 9110, section 14). `end` is exclusive. */
export type RangeChoice =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly first: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' }

const WHOLE: RangeChoice = { kind: 'whole' }

/** Parses a single byte range. Any other header yields the whole content, as RFC 9110 permits. */
export function chooseRange(header: string | undefined, sizeBytes: number): RangeChoice {
  const [, firstText, lastText] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? '') ?? []
  if (firstText === undefined || lastText === undefined) return WHOLE
  if (firstText === '') return lastText === '' ? WHOLE : suffix(Number(lastText), sizeBytes)
  const first = Number(firstText)
  const last = lastText === '' ? Infinity : Number(lastText)
  if (last < first) return WHOLE
  if (first >= sizeBytes) return { kind: 'unsatisfiable' }
  return { kind: 'part', first, end: Math.min(last + 1, sizeBytes) }
}

function suffix(length: number, sizeBytes: number): RangeChoice {
  if (length === 0 || sizeBytes === 0) return { kind: 'unsatisfiable' }
  return { kind: 'part', first: Math.max(0, sizeBytes - length), end: sizeBytes }
}
