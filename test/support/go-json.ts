export type GoJson =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly GoJson[]
  | { readonly [key: string]: GoJson | undefined }

/** JSON as Go writes it: int64 as digits, `<`, `>`, `&` escaped, undefined fields left out. */
export function goJson(value: GoJson, indent = ''): string {
  return render(value, indent, indent === '' ? '' : '\n')
}

function render(value: GoJson, indent: string, lineBreak: string): string {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'string') return goString(value)
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const inner = lineBreak + indent
  const colon = indent === '' ? ':' : ': '
  const [open, close, parts] = isList(value)
    ? ['[', ']', value.map((each) => render(each, indent, inner))]
    : [
        '{',
        '}',
        Object.entries(value).flatMap(([key, each]) =>
          each === undefined ? [] : [goString(key) + colon + render(each, indent, inner)],
        ),
      ]
  return parts.length === 0 ? open + close : open + inner + parts.join(`,${inner}`) + lineBreak + close
}

function isList(value: readonly GoJson[] | { readonly [key: string]: GoJson | undefined }): value is readonly GoJson[] {
  return Array.isArray(value)
}

function goString(text: string): string {
  return JSON.stringify(text).replace(
    /[<>&\u2028\u2029\ufffd]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
