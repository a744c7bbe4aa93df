import { chmodSync, chownSync, lchownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { assertSafeDirectory } from '../../../src/agent/directory/safe-directory.ts'
import { UnavailableError } from '../../../src/shared/errors.ts'

const STRANGER = 12_345
const isRoot = process.geteuid?.() === 0

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'safe-directory-'))
})

afterEach(() => {
  rmSync(root, { recursive: true })
})

function folder(path: string, mode = 0o755): string {
  const full = join(root, path)
  mkdirSync(full, { recursive: true })
  chmodSync(full, mode)
  return full
}

function failureOf(directory: string): unknown {
  try {
    assertSafeDirectory(directory)
  } catch (error) {
    return error
  }
  return undefined
}

describe('assertSafeDirectory', () => {
  it.each([
    { name: 'folders of ours', prepare: () => folder('a/b') },
    { name: 'a folder that nobody else can enter', prepare: () => folder('a', 0o700) },
    {
      name: 'a sticky folder above',
      prepare: () => {
        folder('a', 0o1777)
        return folder('a/b')
      },
    },
    {
      name: 'a link of ours to a folder of ours',
      prepare: () => {
        folder('real')
        symlinkSync('real', join(root, 'link'))
        return join(root, 'link')
      },
    },
    {
      name: 'a folder behind two links',
      prepare: () => {
        folder('real/b')
        symlinkSync(join(root, 'real'), join(root, 'second'))
        symlinkSync('second/b', join(root, 'first'))
        return join(root, 'first')
      },
    },
  ])('takes $name', ({ prepare }) => {
    expect(failureOf(prepare())).toBeUndefined()
  })

  it.each([
    { name: 'a folder that its group can write', prepare: () => folder('a', 0o770), says: 'can be written by others' },
    { name: 'a folder that all can write', prepare: () => folder('a', 0o707), says: 'can be written by others' },
    {
      name: 'a folder above that all can write',
      prepare: () => {
        folder('a', 0o777)
        return folder('a/b/c')
      },
      says: '/a" can be written by others',
    },
    {
      name: 'a link into a folder that all can write',
      prepare: () => {
        folder('open', 0o777)
        folder('open/real')
        symlinkSync('open/real', join(root, 'link'))
        return join(root, 'link')
      },
      says: '/open" can be written by others',
    },
    {
      name: 'a link to a link that all can replace',
      prepare: () => {
        folder('real')
        folder('open', 0o777)
        symlinkSync(join(root, 'real'), join(root, 'open/second'))
        symlinkSync(join(root, 'open/second'), join(root, 'first'))
        return join(root, 'first')
      },
      says: '/open" can be written by others',
    },
    {
      name: 'a file',
      prepare: () => {
        writeFileSync(join(root, 'file'), '')
        return join(root, 'file')
      },
      says: 'is not a folder',
    },
  ])('refuses $name, with a remedy', ({ prepare, says }) => {
    const error = failureOf(prepare())
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({
      code: 'UnsafeDirectory',
      message: expect.stringContaining(says),
      hint: expect.stringMatching(/\S/),
    })
  })

  it.each([
    { name: 'nothing', prepare: () => join(root, 'missing') },
    {
      name: 'a link to nothing',
      prepare: () => {
        symlinkSync('missing', join(root, 'link'))
        return join(root, 'link')
      },
    },
    {
      name: 'a link to itself',
      prepare: () => {
        symlinkSync('link', join(root, 'link'))
        return join(root, 'link')
      },
    },
    {
      name: 'something below a file',
      prepare: () => {
        writeFileSync(join(root, 'file'), '')
        return join(root, 'file/x')
      },
    },
  ])('finds $name missing', ({ prepare }) => {
    expect(failureOf(prepare())).toMatchObject({ code: 'DirectoryMissing' })
  })

  it.for([
    {
      name: 'a folder of somebody else',
      prepare: () => {
        const path = folder('a')
        chownSync(path, STRANGER, STRANGER)
        return path
      },
      says: `belongs to user ${STRANGER}`,
    },
    {
      name: 'a folder below one of somebody else',
      prepare: () => {
        chownSync(folder('a'), STRANGER, STRANGER)
        return folder('a/b')
      },
      says: `belongs to user ${STRANGER}`,
    },
    {
      name: 'a link of somebody else',
      prepare: () => {
        folder('real')
        symlinkSync('real', join(root, 'link'))
        lchownSync(join(root, 'link'), STRANGER, STRANGER)
        return join(root, 'link')
      },
      says: `the link "`,
    },
  ])('refuses $name', ({ prepare, says }, { skip }) => {
    if (!isRoot) skip('only root can make what belongs to somebody else')
    expect(failureOf(prepare())).toMatchObject({ code: 'UnsafeDirectory', message: expect.stringContaining(says) })
  })
})
