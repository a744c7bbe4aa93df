import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const SOURCES = join(import.meta.dirname, '../src')

/** A doc comment that begins like this describes the code around it instead of standing by itself. */
const OPENINGS = /^(?:What|Who|Whose|Of|By|Its)\b/

/** Private words for things that the field has a word for. */
const WORDS =
  /\b(?:deeds?|dear|dearer|giants?|strangers?|forerunners?|folders?|doomed|newcomers?|whoever|now and then|as it were|let go|set aside|looks? at)\b/i

const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .toSorted()

describe('the comments of src/', () => {
  it('begin with a name or a verb', () => {
    const wrong = files.flatMap((path) =>
      commentsOf(path)
        .filter(({ isDoc, text }) => isDoc && OPENINGS.test(text))
        .map(({ text }) => `${path}: ${text.slice(0, 80)}`),
    )
    expect(wrong).toEqual([])
  })

  it("use the field's words", () => {
    const wrong = files.flatMap((path) =>
      commentsOf(path)
        .filter(({ text }) => WORDS.test(text.replaceAll(/`[^`]*`/g, '')))
        .map(({ text }) => `${path}: ${text.slice(0, 120)}`),
    )
    expect(wrong).toEqual([])
  })
})

function commentsOf(path: string): readonly { readonly isDoc: boolean; readonly text: string }[] {
  const source = readFileSync(join(SOURCES, path), 'utf8')
  const blocks = source.matchAll(/^\s*\/\*\*([\s\S]*?)\*\//gm)
  const lines = source.matchAll(/^\s*\/\/ ?(.*)$/gm)
  return [
    ...[...blocks].map(([, text = '']) => ({ isDoc: true, text: text.replaceAll(/\n\s*\* ?/g, ' ').trim() })),
    ...[...lines].map(([, text = '']) => ({ isDoc: false, text })),
  ]
}
