import { chmodSync, lstatSync, mkdtempSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keepIndexPrivate } from '../../src/store/index-privacy.ts'

let folder: string
let file: string
let inode: number

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'index-privacy-'))
  file = join(folder, 'index.db')
  for (const suffix of ['', '-wal', '-shm']) writeFileSync(file + suffix, '', { mode: 0o600 })
  inode = statSync(file).ino
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

const modeOf = (path: string) => lstatSync(path).mode & 0o777

describe('keepIndexPrivate', () => {
  it('changes nothing where nothing is open to others', () => {
    expect(keepIndexPrivate(file, inode)).toEqual({ tightened: [], isGone: false })
  })

  it.each(['', '-wal', '-shm'])('closes index.db%s to others', (suffix) => {
    chmodSync(file + suffix, 0o644)
    expect(keepIndexPrivate(file, inode).tightened).toMatchObject([{ path: file + suffix, mode: '0644' }])
    expect(modeOf(file + suffix)).toBe(0o600)
  })

  it('closes the folder to others', () => {
    chmodSync(folder, 0o755)
    expect(keepIndexPrivate(file, inode).tightened).toMatchObject([{ path: folder, mode: '0755' }])
    expect(modeOf(folder)).toBe(0o700)
  })

  it('never gives a right that was not there', () => {
    chmodSync(file, 0o440)
    keepIndexPrivate(file, inode)
    expect(modeOf(file)).toBe(0o400)
  })

  it('notices that the file is another one, or gone', () => {
    unlinkSync(file)
    expect(keepIndexPrivate(file, inode).isGone).toBe(true)
    writeFileSync(join(folder, 'other'), 'kept, so that its inode is not taken again')
    writeFileSync(file, '', { mode: 0o600 })
    expect(keepIndexPrivate(file, inode + 1).isGone).toBe(true)
  })

  it('does not follow a link', () => {
    const other = join(folder, 'other')
    writeFileSync(other, '')
    chmodSync(other, 0o644)
    unlinkSync(`${file}-wal`)
    symlinkSync(other, `${file}-wal`)
    expect(keepIndexPrivate(file, inode).tightened).toEqual([])
    expect(modeOf(other)).toBe(0o644)
  })
})
