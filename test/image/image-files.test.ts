import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { neededFiles } from '../../tools/image/image-files.ts'

describe('neededFiles', () => {
  const folder = mkdtempSync(join(tmpdir(), 'checkpoint-agent-package-'))
  const needed = [
    'LICENSE',
    'NOTICE.md',
    'dist/test/loader.js',
    'index.cjs',
    'lib/a.js',
    'package.json',
    'prebuilds/linux-x64.node',
  ]
  const needless = [
    'README.md',
    'deps/sqlite3.c',
    'lib/a.d.ts',
    'lib/a.js.map',
    'lib/a.test.js',
    'node_modules/other/index.js',
    'prebuilds/darwin-arm64.node',
    'prebuilds/linux-arm64.node',
    'prebuilds/linuxmusl-x64.node',
    'test/all.js',
  ]

  beforeAll(() => {
    for (const file of [...needed, ...needless]) {
      mkdirSync(dirname(join(folder, file)), { recursive: true })
      writeFileSync(join(folder, file), '')
    }
  })
  afterAll(() => {
    rmSync(folder, { recursive: true })
  })

  it('keeps code and licences, and the native part of this platform', () => {
    expect(neededFiles(folder, 'x64')).toEqual(needed)
  })
})
