import { chmodSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { makePrivateFolder } from '../../src/http/private-folder.ts'
import { temporaryFolder } from './temporary-folder.ts'

describe('makePrivateFolder', () => {
  it('makes all that is missing, for its owner only', async () => {
    const folder = temporaryFolder()
    await makePrivateFolder(join(folder, 'a', 'b'))
    for (const path of ['a', 'a/b']) expect(statSync(join(folder, path)).mode & 0o777).toBe(0o700)
  })

  it('leaves a folder that is there as it is', async () => {
    const path = join(temporaryFolder(), 'a')
    mkdirSync(path)
    chmodSync(path, 0o755)
    await makePrivateFolder(path)
    expect(statSync(path).mode & 0o777).toBe(0o755)
  })

  it('gives up where no folder can be made', async () => {
    await expect(makePrivateFolder('/proc/no/agent')).rejects.toThrow('ENOENT')
  })
})
