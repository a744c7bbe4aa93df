import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** A file of the image: where it is now, and its path in the image, without the leading slash. */
export interface ImageFile {
  readonly source: string
  readonly target: string
}

/** The Node.js package holds these and, left out here, 67 MiB of headers, its changelog and manual pages. */
const PACKAGE_FILES = ['bin/node', 'LICENSE', 'package.json']

/** Libraries that Node.js loads and a base image with glibc, libstdc++ and libgcc lacks. */
const MISSING_LIBRARIES = /\/libatomic\.so\.1$/

/**
 * The files that Node.js consists of in the image. `packageFolder` is the npm package `node-linux-…`, `loaded` the
 * libraries that its program has loaded here.
 */
export function nodeFiles(packageFolder: string, loaded: readonly string[]): ImageFile[] {
  const own = PACKAGE_FILES.map((file) => ({ source: join(packageFolder, file), target: join('nodejs', file) }))
  const libraries = loaded
    .filter((path) => MISSING_LIBRARIES.test(path))
    .map((path) => ({ source: realpathSync(path), target: join(systemFolder(path), basename(path)) }))
  return [...own, ...libraries]
}

/** `/lib` is a link to `/usr/lib` in most images, and copying into a link of another image would replace it. */
function systemFolder(path: string): string {
  return dirname(path).replace(/^\/(?:usr\/)?lib/, 'usr/lib')
}

/** The libraries that this process has loaded. */
export function loadedLibraries(): string[] {
  const report = process.report.getReport() as { readonly sharedObjects?: readonly string[] }
  return [...(report.sharedObjects ?? [])]
}
