// assemble.ts OUT: puts what the image is made of into the folder OUT, from a checkout with node_modules and dist.
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { billOfMaterials } from './bill-of-materials.ts'
import { neededFiles } from './image-files.ts'
import { productionPackages } from './production-packages.ts'

const [out] = process.argv.slice(2)
if (out === undefined) throw new Error('Cannot assemble the image: which folder is it to lie in?')

const packages = productionPackages(readFileSync('package-lock.json', 'utf8')).filter(({ folder }) =>
  existsSync(folder),
)
const product = JSON.parse(readFileSync('package.json', 'utf8')) as { name: string; version: string; license: string }

const files = [
  'package.json',
  'LICENSE',
  ...globSync('proto/**/*.proto'),
  ...globSync('dist/**/*.{js,map}'),
  ...packages.flatMap(({ folder }) => neededFiles(folder, process.arch).map((file) => join(folder, file))),
].toSorted()

for (const file of files) {
  mkdirSync(join(out, dirname(file)), { recursive: true })
  cpSync(file, join(out, file), { dereference: true })
}
writeFileSync(join(out, 'sbom.cdx.json'), billOfMaterials(product, packages))
writeFileSync(join(out, 'contents.txt'), files.map((file) => `${statSync(file).size}\t${file}\n`).join(''))
