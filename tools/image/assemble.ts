// assemble.ts OUT: puts what the image is made of into the folder OUT, from a checkout with node_modules and dist, and
// with the pinned Node.js in tools/node, which must be the one that runs this.
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { billOfMaterials } from './bill-of-materials.ts'
import { neededFiles } from './image-files.ts'
import { loadedLibraries, nodeFiles } from './node-files.ts'
import { productionPackages } from './production-packages.ts'

const [out] = process.argv.slice(2)
if (out === undefined) throw new Error('Cannot assemble the image: which folder is it to lie in?')

const NODE_ROOT = 'tools/node'
const [node] = packagesOf(join(NODE_ROOT, 'package-lock.json'), NODE_ROOT)
if (node === undefined) throw new Error(`Cannot assemble the image: there is no Node.js in ${NODE_ROOT} (make node)`)
const nodeFolder = join(NODE_ROOT, node.folder)
if (realpathSync(process.execPath) !== realpathSync(join(nodeFolder, 'bin/node')))
  throw new Error(`Cannot assemble the image: run this with ${nodeFolder}/bin/node, whose libraries go along`)

const packages = packagesOf('package-lock.json', '.')
const product = JSON.parse(readFileSync('package.json', 'utf8')) as { name: string; version: string; license: string }

const files = [
  ...[
    'package.json',
    'LICENSE',
    ...globSync('proto/**/*.proto'),
    ...globSync('dist/**/*.{js,map}'),
    ...packages.flatMap(({ folder }) => neededFiles(folder, process.arch).map((file) => join(folder, file))),
  ].map((file) => ({ source: file, target: join('app', file) })),
  ...nodeFiles(nodeFolder, loadedLibraries()),
].toSorted((one, other) => (one.target < other.target ? -1 : 1))

for (const { source, target } of files) {
  mkdirSync(join(out, dirname(target)), { recursive: true })
  cpSync(source, join(out, target), { dereference: true })
}
writeFileSync(join(out, 'app/sbom.cdx.json'), billOfMaterials(product, [...packages, node]))
const list = files.map(({ source, target }) => `${statSync(source).size}\t/${target}\n`)
writeFileSync(join(out, 'app/contents.txt'), list.join(''))

/** Those that are installed here: a lock file names packages of other platforms, too. */
function packagesOf(lockFile: string, root: string) {
  return productionPackages(readFileSync(lockFile, 'utf8')).filter(({ folder }) => existsSync(join(root, folder)))
}
