import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openApiDocument } from '../src/http/openapi.ts'

const ROOT = join(import.meta.dirname, '..')
const PAGES = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...globSync('docs/**/*.md', { cwd: ROOT })].toSorted()

describe.each(PAGES)('%s', (page) => {
  const text = readText(page)

  it('links to files that exist', () => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, target = '']) => target)
    expect(links.filter((target) => !existsSync(join(ROOT, dirname(page), target)))).toEqual([])
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

describe('docs/reference/http-api.md', () => {
  const page = readText('docs/reference/http-api.md')

  it('names every route', () => {
    const routes = Object.entries(openApiDocument().paths ?? {}).flatMap(([path, methods]) =>
      Object.keys(methods as object).map((method) => `\`${method.toUpperCase()} ${path}\``),
    )
    expect(routes.length).toBeGreaterThan(10)
    expect(routes.filter((route) => !page.includes(`| ${route} |`))).toEqual([])
  })

  it('names every error code, or docs/install.md does', () => {
    const pages = page + readText('docs/install.md')
    const sources = globSync('src/**/*.ts', { cwd: ROOT }).map(readText)
    const codes = sources.flatMap((text) =>
      [...text.matchAll(/\bcode: '([A-Z][A-Za-z]+)'/g)].map(([, code = '']) => code),
    )
    expect(new Set(codes).size).toBeGreaterThan(30)
    expect([...new Set(codes)].filter((code) => !pages.includes(`\`${code}\``))).toEqual([])
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

function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}
