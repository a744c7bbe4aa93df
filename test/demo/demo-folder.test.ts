import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { makeDemoFolder } from '../../tools/demo/demo-folder.ts'

let place: string
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'ca-'))
  vi.stubEnv('TMPDIR', place)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(place, { recursive: true })
})

describe('makeDemoFolder', () => {
  it('makes one that is ours alone, and removes it', () => {
    const folder = makeDemoFolder()
    expect(statSync(folder.path).mode & 0o777).toBe(0o700)
    expect(folder.path.startsWith(place)).toBe(true)
    folder.remove()
    expect(readdirSync(place)).toEqual([])
  })

  it('removes what a dead demo left, and nothing of a living one or of anybody else', () => {
    const living = makeDemoFolder()
    const dead = join(place, 'checkpoint-agent-demo-dead')
    mkdirSync(join(dead, 'state'), { recursive: true })
    writeFileSync(join(dead, 'demo'), '')
    const foreign = join(place, 'checkpoint-agent-demo-foreign')
    mkdirSync(foreign)
    const next = makeDemoFolder()
    expect(existsSync(dead)).toBe(false)
    expect(existsSync(living.path)).toBe(true)
    expect(existsSync(foreign)).toBe(true)
    next.remove()
    living.remove()
  })

  it('goes elsewhere when the path is too long for a unix socket', () => {
    const long = join(place, 'x'.repeat(80))
    mkdirSync(long)
    vi.stubEnv('TMPDIR', long)
    const folder = makeDemoFolder()
    expect(folder.path).toMatch(/^\/(?:var\/)?tmp\/checkpoint-agent-demo-/)
    folder.remove()
  })
})
