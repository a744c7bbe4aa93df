import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openApiDocument } from '../src/api/openapi.ts'

const ROOT = join(import.meta.dirname, '..')
const PAGES = [...globSync('*.md', { cwd: ROOT }), ...globSync('docs/**/*.md', { cwd: ROOT })].toSorted()

/** Pages whose lines are not held to the width yet. */
const WIDE_PAGES: ReadonlySet<string> = new Set([
  'docs/architecture.md',
  ...globSync('docs/decisions/*.md', { cwd: ROOT }),
])
const COLUMNS = 100

describe.each(PAGES)('%s', (page) => {
  const text = readText(page)

  it('links to files that exist', () => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, target = '']) => target)
    const images = [...text.matchAll(/\b(?:src|srcset)="([^"]+)"/g)].map(([, target = '']) => target)
    expect([...links, ...images].filter((target) => !existsSync(join(ROOT, dirname(page), target)))).toEqual([])
  })

  it('links to headings that exist', () => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]*)#([^)]+)\)/g)]
    const wrong = links.filter(([, target = '', anchor = '']) => {
      const path = target === '' ? page : join(dirname(page), target)
      return !anchorsOf(path).includes(anchor)
    })
    expect(wrong.map(([link]) => link)).toEqual([])
  })

  it('names files that exist', () => {
    const files = [...text.matchAll(/`((?:src|test|bench|docs|proto|tools|charts)\/[\w./-]*)`/g)].map(
      ([, path = '']) => path,
    )
    // Benches are named without their ending.
    expect(files.filter((path) => !existsSync(join(ROOT, path)) && !existsSync(join(ROOT, `${path}.ts`)))).toEqual([])
  })

  it('names make targets that exist', () => {
    const targets = [...text.matchAll(/`(?:\$ )?make ([a-z0-9-]+)/g)].map(([, target = '']) => target)
    const makefile = readText('Makefile')
    expect(targets.filter((target) => !makefile.includes(`\n${target}:`))).toEqual([])
  })
})

describe('the width of', () => {
  it.each(PAGES.filter((page) => !WIDE_PAGES.has(page)))('%s is 100 columns, but for tables and addresses', (page) => {
    const lines = readText(page)
      .split('\n')
      .map((line, index) => ({ at: `${page}:${index + 1}`, line }))
    expect(lines.filter(({ line }) => line.length > COLUMNS && !mayBeWide(line))).toEqual([])
  })
})

describe('docs/reference/http-api.md', () => {
  const page = readText('docs/reference/http-api.md')

  it('names every route', () => {
    const routes = Object.entries(openApiDocument().paths ?? {}).flatMap(([path, methods]) =>
      Object.keys(methods as object).map((method) => `\`${method.toUpperCase()} ${path}\``),
    )
    expect(routes.length).toBeGreaterThan(10)
    expect(routes.filter((route) => !page.includes(`| ${route} |`))).toEqual([])
  })

  it('names every error code, or docs/reference/errors.md does', () => {
    const pages = page + readText('docs/reference/errors.md')
    const sources = globSync('src/**/*.ts', { cwd: ROOT }).map(readText)
    const codes = sources.flatMap((text) =>
      [...text.matchAll(/\bcode: '([A-Z][A-Za-z]+)'/g)].map(([, code = '']) => code),
    )
    expect(new Set(codes).size).toBeGreaterThan(30)
    expect([...new Set(codes)].filter((code) => !pages.includes(`\`${code}\``))).toEqual([])
  })
})

describe('docs/reference/metrics.md', () => {
  it('has a section for each alert of the chart', () => {
    const alerts = [...readText('charts/checkpoint-agent/alerts.yaml').matchAll(/- alert: (\w+)$/gm)]
    const names = alerts.map(([, name = '']) => name)
    expect(names.length).toBeGreaterThan(5)
    const sections = [...readText('docs/reference/metrics.md').matchAll(/^### (Checkpoint\w+)$/gm)]
    expect(sections.map(([, name = '']) => name).toSorted()).toEqual(names.toSorted())
  })
})

describe('docs/architecture.md', () => {
  it('names files that are in the folder of their row', () => {
    const rows = [...readText('docs/architecture.md').matchAll(/^\| `(src\/\w+\/)` \|[^|]*\|([^|]*)\|$/gm)]
    const wrong = rows.flatMap(([, folder = '', files = '']) =>
      [...files.matchAll(/`([\w./-]+)`/g)]
        .map(([, file = '']) => folder + file)
        .filter((path) => !existsSync(join(ROOT, path))),
    )
    expect(rows.length).toBeGreaterThan(5)
    expect(wrong).toEqual([])
  })
})

/** Tables, HTML, and lines with an address. */
function mayBeWide(line: string): boolean {
  return /^\s*(?:\||<)/.test(line) || /https?:\/\//.test(line)
}

/** The anchors that GitHub generates for the headings of a page. */
function anchorsOf(path: string): string[] {
  return [...readText(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}
