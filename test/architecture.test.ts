import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

/** A folder of src/ may import itself and what is listed beside it. Read it bottom up. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  config: ['retention', 'encryption', 'shared'],
  agent: [
    'http',
    'archive',
    'criu',
    'streams',
    'custody',
    'encryption',
    'retention',
    'runtime',
    'store',
    'checkpoint',
    'shared',
  ],
  http: ['archive', 'streams', 'access', 'custody', 'retention', 'store', 'checkpoint', 'shared'],
  streams: ['checkpoint', 'shared'],
  runtime: ['checkpoint', 'shared'],
  store: ['checkpoint', 'shared'],
  archive: ['streams', 'checkpoint', 'shared'],
  criu: ['checkpoint', 'shared'],
  access: ['checkpoint', 'shared'],
  retention: ['checkpoint', 'shared'],
  custody: ['checkpoint', 'shared'],
  encryption: ['checkpoint', 'shared'],
  checkpoint: ['shared'],
  shared: [],
}

const ROOT = join(import.meta.dirname, '..')
const ENTRY = 'main.ts'
/** What it joins once the process is as it should be. */
const AGENT = 'run-agent.ts'
/** Where threads and processes begin: named by a URL, not by an import. */
const BEGINNINGS = [
  'agent/content/sealing-worker.ts',
  'agent/hashing/hash-worker.ts',
  'agent/inspection/reader-process.ts',
  'agent/retention/plan-process.ts',
]

/** Where the process begins that takes archives apart. */
const READER = 'agent/inspection/reader-process.ts'
/** What the agent's own process loads of the folders that do: words and rules for facts that are read already. */
const LOADED_BY_THE_AGENT = ['archive/identity-assessment.ts', 'archive/instant.ts']

interface SourceFile {
  /** Relative to src/, as in `http/app.ts`. */
  readonly path: string
  readonly text: string
  /** What it imports, written as it stands; `undefined` where a dynamic import does not name a text. */
  readonly imports: readonly (string | undefined)[]
}

const files: readonly SourceFile[] = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => /\.[cm]?[jt]sx?$/.test(path))
  .toSorted()
  .map((path) => {
    const text = readFileSync(join(ROOT, 'src', path), 'utf8')
    return { path, text, imports: importsOf(text) }
  })

const fileByPath = new Map(files.map((file) => [file.path, file]))

describe('the folders of src/', () => {
  it.each(Object.entries(MAY_IMPORT))('%s imports only itself and %j', (folder, allowed) => {
    const wrong = files
      .filter((file) => folderOf(file.path) === folder)
      .flatMap((file) => targetsOf(file).map((target) => ({ file: file.path, imports: target })))
      .filter(({ imports }) => ![folder, ...allowed].includes(folderOf(imports)))
    expect(wrong).toEqual([])
  })

  it('have each their place in the order', () => {
    const unplaced = new Set(
      files.map((file) => folderOf(file.path)).filter((folder) => !Object.hasOwn(MAY_IMPORT, folder)),
    )
    unplaced.delete('.')
    expect([...unplaced]).toEqual([])
  })

  it('hold everything but main.ts and run-agent.ts', () => {
    expect(files.map((file) => file.path).filter((path) => folderOf(path) === '.')).toEqual([ENTRY, AGENT])
  })

  it('have no index.ts: a path says where a thing lives', () => {
    expect(files.map((file) => file.path).filter((path) => /(?:^|\/)index\./.test(path))).toEqual([])
  })
})

describe('the files of src/', () => {
  it('are all reached from main.ts', () => {
    const reached = new Set<string>()
    const waiting = [ENTRY, ...BEGINNINGS]
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const file = fileByPath.get(path)
      if (file === undefined || reached.has(path)) continue
      reached.add(path)
      waiting.push(...targetsOf(file))
    }
    expect(files.map((file) => file.path).filter((path) => !reached.has(path))).toEqual([])
  })

  it('do not import each other in a circle', () => {
    expect(findCircle()).toBeUndefined()
  })

  it('import files that exist, inside src/, by their whole name', () => {
    const wrong = files.flatMap((file) =>
      targetsOf(file)
        .filter((target) => !fileByPath.has(target))
        .map((target) => `${file.path} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  it('are read late where main.ts begins: it begins twice', () => {
    const early = new Set<string>()
    const waiting = [ENTRY]
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const file = fileByPath.get(path)
      if (file === undefined || early.has(path)) continue
      early.add(path)
      waiting.push(...targetsOf({ ...file, imports: earlyImportsOf(file.text) }))
    }
    expect([...early].toSorted()).toEqual(['config/small-process.ts', ENTRY])
  })

  it('leave the process that reads archives with little: what it loads, hostile bytes may come to use', () => {
    const loaded = new Set<string>()
    const packages = new Set<string>()
    const waiting = ['agent/inspection/reader-process.ts']
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const file = fileByPath.get(path)
      if (file === undefined || loaded.has(path)) continue
      loaded.add(path)
      const imports = earlyImportsOf(file.text)
      for (const name of imports) if (!name.startsWith('.')) packages.add(name)
      waiting.push(...targetsOf({ ...file, imports }))
    }
    const agents = [...loaded].filter((path) => folderOf(path) === 'agent' && !path.startsWith('agent/inspection/'))
    expect(agents).toEqual([])
    expect(new Set([...loaded].map((path) => folderOf(path)))).toEqual(
      new Set(['agent', 'archive', 'checkpoint', 'criu', 'shared', 'streams']),
    )
    expect([...packages].filter((name) => !name.startsWith('node:'))).toEqual(['tar/header'])
    expect([...packages].filter((name) => /net|http|child_process|worker|dns|dgram|sqlite/.test(name))).toEqual([])
  })

  it('import node:http for its types only: all of it loads the fetch of Node as well', () => {
    const wrong = files.filter(({ text }) => earlyImportsOf(text).includes('node:http')).map(({ path }) => path)
    expect(wrong).toEqual([])
  })

  it('name what they import', () => {
    expect(files.filter((file) => file.imports.includes(undefined)).map((file) => file.path)).toEqual([])
  })

  it('import no package but those that the built agent brings along', () => {
    const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(
      readFileSync(join(ROOT, 'package.json'), 'utf8'),
    )
    const wrong = files.flatMap((file) =>
      file.imports
        .filter((name) => name !== undefined && !name.startsWith('.') && !name.startsWith('node:'))
        .filter((name) => isBuiltin(name ?? '') || !Object.hasOwn(dependencies, packageOf(name ?? '')))
        .map((name) => `${file.path} imports ${name}`),
    )
    expect(wrong).toEqual([])
  })

  it('leave the environment to main.ts and config/', () => {
    const readers = files
      .filter((file) =>
        /\bprocess\s*(?:\?\.|\.|\[\s*['"])\s*env\b|\benv\b.*from ['"]node:process['"]/.test(withoutComments(file.text)),
      )
      .map((file) => file.path)
      .filter((path) => path !== ENTRY && folderOf(path) !== 'config')
    expect(readers).toEqual([])
  })
})

describe('the bytes of archives', () => {
  it('are taken apart in the process of the reader alone: no other process of the agent even loads what does it', () => {
    const loaded = loadedFrom([AGENT, ...BEGINNINGS.filter((path) => path !== READER)])
    const parsers = [...loaded].filter((path) => ['archive', 'criu'].includes(folderOf(path)))
    expect(parsers.toSorted()).toEqual(LOADED_BY_THE_AGENT)
  })

  it('are unpacked nowhere else either', () => {
    const pattern = /\b(?:create)?(?:Gunzip|Unzip|Inflate|InflateRaw|BrotliDecompress|ZstdDecompress)(?:Sync)?\s*\(/i
    const unpacking = files.filter(({ text }) => pattern.test(withoutComments(text))).map(({ path }) => path)
    expect(unpacking).toEqual(['archive/decompression.ts'])
  })

  it('are taken apart by the reader', () => {
    const loaded = loadedFrom([READER])
    expect([...loaded]).toEqual(
      expect.arrayContaining(['archive/tar-members.ts', 'archive/decompression.ts', 'criu/inventory.ts']),
    )
    expect([...loaded].filter((path) => ['runtime', 'custody', 'store', 'http'].includes(folderOf(path)))).toEqual([])
  })
})

describe('importsOf', () => {
  it.each([
    ['a plain import', `import { a } from './a.ts'`, ['./a.ts']],
    ['a type', `import type { A } from "./a.ts"`, ['./a.ts']],
    ['one over several lines', `import {\n  a,\n  b,\n} from '../x/a.ts'`, ['../x/a.ts']],
    ['one for its effect', `import './a.ts'`, ['./a.ts']],
    ['a re-export', `export * from './a.ts'\nexport { b } from './b.ts'`, ['./a.ts', './b.ts']],
    ['a late one', `const { a } = await import('./a.ts')`, ['./a.ts']],
    ['a late one with a template', 'await import(`./a.ts`)', ['./a.ts']],
    ['a late one that names nothing', 'await import(name)', [undefined]],
    ['a type of an import', `let a: import('./a.ts').A`, ['./a.ts']],
    ['require', `createRequire(import.meta.url)('./a.cjs'); require('./b.cjs')`, ['./b.cjs']],
    ['none in a comment', `// import './a.ts'\n/* from './b.ts' */`, []],
    ['none in import.meta', 'import.meta.dirname', []],
  ])('finds %s', (_, text, found) => {
    expect(importsOf(text)).toEqual(found)
  })
})

describe('earlyImportsOf', () => {
  it.each([
    ['a plain import', `import { a } from './a.ts'`, ['./a.ts']],
    ['one for its effect', `import './a.ts'`, ['./a.ts']],
    ['one over several lines', `import {\n  a,\n} from './a.ts'`, ['./a.ts']],
    ['a re-export', `export { a } from './a.ts'`, ['./a.ts']],
    ['a type beside others', `import { a, type B } from './a.ts'`, ['./a.ts']],
    ['no type', `import type { A } from './a.ts'`, []],
    ['no late one', `const { a } = await import('./a.ts')`, []],
    ['nothing that is exported', `export const a = 'b'\nexport function c() { return from('d') }`, []],
  ])('finds %s', (_, text, found) => {
    expect(earlyImportsOf(text)).toEqual(found)
  })
})

function importsOf(text: string): (string | undefined)[] {
  const pattern =
    /\b(?:from|import)\s*(['"])(?<fixed>[^'"\n]+)\1|\b(?:import|require)\s*\(\s*(?:(['"`])(?<late>[^'"`$\n]+)\3|(?<unnamed>[^\s'"`)]|`))/g
  return [...withoutComments(text).matchAll(pattern)].map(({ groups }) => groups?.['fixed'] ?? groups?.['late'])
}

/** What is read before the file itself runs: neither types nor late imports. */
function earlyImportsOf(text: string): string[] {
  const pattern = /^(?:import|export)\s+(?!type\b)(?:[^'"]*?\bfrom\s*)?(['"])(?<name>[^'"\n]+)\1/gm
  return [...withoutComments(text).matchAll(pattern)].map(({ groups }) => groups?.['name'] ?? '')
}

/** All that runs once these run, read late or early. */
function loadedFrom(entries: readonly string[]): ReadonlySet<string> {
  const loaded = new Set<string>()
  const waiting = [...entries]
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const file = fileByPath.get(path)
    if (file === undefined || loaded.has(path)) continue
    loaded.add(path)
    const late = [...withoutComments(file.text).matchAll(/\bawait import\(\s*['"](?<name>[^'"]+)['"]/g)]
    const imports = [...earlyImportsOf(file.text), ...late.map(({ groups }) => groups?.['name'])]
    waiting.push(...targetsOf({ ...file, imports }))
  }
  return loaded
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(?<![:'"`\w])\/\/.*$/gm, '')
}

/** The files of src/ that it imports, relative to src/. */
function targetsOf(file: SourceFile): string[] {
  return file.imports
    .filter((name) => name?.startsWith('.') === true)
    .map((name) => relative(join(ROOT, 'src'), join(ROOT, 'src', dirname(file.path), name ?? '')))
}

/** The first folder of the path; `.` for main.ts, `..` for what is outside src/. */
function folderOf(path: string): string {
  const [first = '', second] = path.split('/')
  return second === undefined ? '.' : first
}

function packageOf(name: string): string {
  return name.split('/', name.startsWith('@') ? 2 : 1).join('/')
}

function findCircle(): readonly string[] | undefined {
  const done = new Set<string>()
  const visit = (path: string, above: readonly string[]): readonly string[] | undefined => {
    if (above.includes(path)) return [...above.slice(above.indexOf(path)), path]
    const file = fileByPath.get(path)
    if (file === undefined || done.has(path)) return undefined
    for (const target of targetsOf(file)) {
      const circle = visit(target, [...above, path])
      if (circle !== undefined) return circle
    }
    done.add(path)
    return undefined
  }
  for (const { path } of files) {
    const circle = visit(path, [])
    if (circle !== undefined) return circle
  }
  return undefined
}

it('the map of folders in docs/architecture.md is the one above', () => {
  const page = join(ROOT, 'docs/architecture.md')
  expect(existsSync(page)).toBe(true)
  const text = readFileSync(page, 'utf8')
  const placed = new Set(files.map((file) => folderOf(file.path)).filter((folder) => folder !== '.'))
  expect([...placed].filter((folder) => !text.includes(`src/${folder}/`))).toEqual([])
})
