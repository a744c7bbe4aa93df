import { chmodSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startAgent } from '../../../src/agent/start-agent.ts'
import { Staging } from '../../../src/agent/directory/staging.ts'
import { UnavailableError } from '../../../src/shared/errors.ts'
import { asOrdinaryUser } from '../../support/ordinary-user.ts'
import { agentOptions, makeTestFolder, type TestFolder } from '../../support/test-agent.ts'

let folder: TestFolder
let staging: Staging

beforeEach(() => {
  folder = makeTestFolder()
  mkdirSync(folder.checkpoints, { mode: 0o700 })
  staging = new Staging(folder.checkpoints)
})

afterEach(() => {
  folder.remove()
})

describe('Staging', () => {
  it('is a hidden folder beside the archives, for us alone', () => {
    staging.prepare()
    staging.prepare()
    expect(staging.root).toBe(join(folder.checkpoints, '.checkpoint-agent'))
    expect(statSync(staging.root).mode & 0o777).toBe(0o700)
  })

  it('makes a folder for each capture, for us alone, and removes it with all that is in it', async () => {
    const path = await staging.create('01-0')
    expect(path).toBe(join(staging.root, '01-0', 'archive.tar'))
    expect(statSync(join(staging.root, '01-0')).mode & 0o777).toBe(0o700)
    writeFileSync(path, 'x')
    writeFileSync(join(staging.root, '01-0', 'another'), 'x')
    await staging.remove('01-0')
    await staging.remove('01-0')
    expect(readdirSync(staging.root)).toEqual([])
  })

  it('never takes a folder that is there already', async () => {
    await staging.create('01-0')
    await expect(staging.create('01-0')).rejects.toMatchObject({ code: 'EEXIST' })
  })

  it('lists the folders that an earlier run left, and not the lock', async () => {
    expect(await staging.listLeftovers()).toEqual([])
    await staging.create('01-0')
    writeFileSync(join(staging.root, 'lock'), '')
    expect(await staging.listLeftovers()).toEqual(['01-0'])
    staging.keep('01-0')
    expect(await staging.listLeftovers()).toEqual([])
    staging.release('01-0')
    expect(await staging.listLeftovers()).toEqual(['01-0'])
  })

  it('tells how much was written, and undefined before', async () => {
    const path = await staging.create('01-0')
    expect(await staging.bytesWritten('01-0')).toBeUndefined()
    writeFileSync(path, 'x'.repeat(10))
    expect(await staging.bytesWritten('01-0')).toBe(10)
    expect(await staging.bytesWritten('02-0')).toBeUndefined()
  })

  it.each([
    {
      name: 'the folder was opened to others',
      prepare: () => {
        mkdirSync(staging.root)
        chmodSync(staging.root, 0o755)
      },
      code: 'UnsafeDirectory',
    },
    {
      name: 'a link stands in its place',
      prepare: () => {
        mkdirSync(join(folder.path, 'elsewhere'))
        symlinkSync(join(folder.path, 'elsewhere'), staging.root)
      },
      code: 'UnsafeDirectory',
    },
    { name: 'a file stands in its place', prepare: () => writeFileSync(staging.root, ''), code: 'UnsafeDirectory' },
    {
      name: 'the checkpoint directory is gone',
      prepare: () => rmSync(folder.checkpoints, { recursive: true }),
      code: 'DirectoryMissing',
    },
    {
      name: 'others can write beside it',
      prepare: () => chmodSync(folder.checkpoints, 0o777),
      code: 'UnsafeDirectory',
    },
  ])('refuses to begin where $name', async ({ prepare, code }) => {
    prepare()
    await expect(staging.create('01-0')).rejects.toBeInstanceOf(UnavailableError)
    await expect(staging.create('01-0')).rejects.toMatchObject({ code, hint: expect.stringMatching(/\S/) })
  })

  it('says that the directory cannot be written', () => {
    const error = asOrdinaryUser([folder.path, folder.checkpoints], () => {
      chmodSync(folder.checkpoints, 0o500)
      return failureOf(() => {
        staging.prepare()
      })
    })
    expect(error).toMatchObject({ code: 'LocationNotWritable' })
  })
})

describe('an agent whose directory cannot be made', () => {
  it.each([
    {
      name: 'below a file',
      directory: () => join(folder.path, 'file', 'checkpoints'),
      prepare: () => writeFileSync(join(folder.path, 'file'), ''),
    },
    {
      name: 'below a folder that it may not write',
      directory: () => join(folder.path, 'closed', 'checkpoints'),
      prepare: () => mkdirSync(join(folder.path, 'closed'), { mode: 0o500 }),
    },
    {
      name: 'in a place where nothing can be made',
      directory: () => '/proc/foo/checkpoints',
      prepare: () => undefined,
    },
    {
      name: 'behind a link that ends nowhere',
      directory: () => join(folder.path, 'link'),
      prepare: () => symlinkSync('/nonexistent/place', join(folder.path, 'link')),
    },
  ])('does not start: $name', ({ directory, prepare }) => {
    const options = { ...agentOptions(folder, join(folder.path, 'none.sock')), checkpointsDirectory: directory() }
    const error = asOrdinaryUser([folder.path], () => {
      prepare()
      return failureOf(() => startAgent(options))
    })
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({ code: 'LocationNotWritable', hint: expect.stringContaining('checkpoints.directory') })
  })
})

function failureOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}
