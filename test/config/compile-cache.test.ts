import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const COMPILE_CACHE = pathToFileURL(join(import.meta.dirname, '../../src/config/compile-cache.ts')).href

describe('the compile cache', () => {
  let root: string
  let state: string
  let folder: string

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'compile-cache-'))
    state = join(root, 'state')
    folder = join(state, 'compile-cache')
    mkdirSync(state, { mode: 0o700 })
    writeFileSync(join(root, 'late.mjs'), 'export const late = 1\n')
  })
  afterEach(() => {
    rmSync(root, { recursive: true, force: true })
  })

  it('is written into the state directory, for its owner alone, and read by the next start', () => {
    expect(importLate()).toBe('written')
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(importLate()).toBe('found')
  })

  it('takes the place of that of another Node.js', () => {
    mkdirSync(join(folder, 'v1.0.0-x64-0-0'), { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, 'v1.0.0-x64-0-0', 'old'), '')
    chmodSync(folder, 0o700)
    importLate()
    expect(readdirSync(folder)).toEqual([expect.stringContaining(process.version)])
  })

  it.each([
    ['the state directory is missing', () => rmSync(state, { recursive: true })],
    ['others may write into the state directory', () => chmodSync(state, 0o777)],
    ['others may write into its folder', () => makeOpen(folder)],
    ['its folder is a link', () => symlinkSync(root, folder)],
    ['something else has its name', () => writeFileSync(folder, '')],
  ])('is done without where %s', (_, arrange) => {
    arrange()
    expect(importLate()).toBe('uncached')
  })

  /** Begins to use the cache, then imports one file: is it compiled into the cache, or found there? */
  function importLate(): 'written' | 'found' | 'uncached' {
    const late = pathToFileURL(join(root, 'late.mjs')).href
    const program = `
      const { useCompileCache } = await import(${JSON.stringify(COMPILE_CACHE)})
      useCompileCache(${JSON.stringify(state)})
      await import(${JSON.stringify(late)})
    `
    const { NODE_COMPILE_CACHE: _, ...env } = process.env
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      env: { ...env, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' },
      encoding: 'utf8',
    })
    expect({ status, stderr }).toMatchObject({ status: 0 })
    if (stderr.includes(`${late} was accepted`)) return 'found'
    return stderr.includes(`writing cache for ESM ${late}`) ? 'written' : 'uncached'
  }
})

function makeOpen(folder: string): void {
  mkdirSync(folder)
  chmodSync(folder, 0o777)
}
