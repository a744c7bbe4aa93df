import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const SOURCES = join(ROOT, 'src')

/** Pages for readers outside the project; decisions and the architecture keep the words of their time. */
const PAGES = [
  'README.md',
  ...['docs', 'docs/concepts', 'docs/guides', 'docs/reference', 'charts/checkpoint-agent'].flatMap((directory) =>
    readdirSync(join(ROOT, directory))
      .filter((name) => name.endsWith('.md') && name !== 'architecture.md')
      .map((name) => `${directory}/${name}`),
  ),
]

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

describe('the pages', () => {
  it.each(PAGES)("%s uses the field's words", (path) => {
    // Programs and their output say what they say.
    const text = readFileSync(join(ROOT, path), 'utf8')
      .replaceAll(/^```[\s\S]*?^```$/gm, '')
      .replaceAll(/`[^`\n]*`/g, '')
    expect(text.split('\n').filter((line) => WORDS.test(line))).toEqual([])
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
