import { readdirSync } from 'node:fs'
import { basename, join, relative, sep } from 'node:path'

const CODE = /\.(?:js|cjs|mjs|json|node|proto|wasm)$/
const LICENCE = /^(?:licen[cs]e|notice|copying)/i
const NEVER_LOADED = new Set([
  'test',
  'tests',
  '__tests__',
  'doc',
  'docs',
  'example',
  'examples',
  'bench',
  'benchmarks',
])

/** The files of a package that the running agent may load, and its licence. `packageFolder` is its folder in node_modules. */
export function neededFiles(packageFolder: string, architecture: string): string[] {
  return filesBelow(packageFolder)
    .map((file) => relative(packageFolder, file))
    .filter((file) => LICENCE.test(basename(file)) || (CODE.test(file) && isLoadable(file, architecture)))
    .toSorted()
}

/** Nested node_modules are packages of their own. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesBelow(path)
    return entry.isFile() ? [path] : []
  })
}

function isLoadable(file: string, architecture: string): boolean {
  const [top = ''] = file.split(sep)
  if (top === 'prebuilds') return basename(file) === `linux-${architecture}.node`
  return !NEVER_LOADED.has(top) && !file.endsWith('.test.js')
}
