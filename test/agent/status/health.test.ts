import Sqlite from 'better-sqlite3'
import { describe, expect, it } from 'vitest'
import { checkHealth, type HealthSources } from '../../../src/agent/status/health.ts'
import { Staging } from '../../../src/agent/directory/staging.ts'
import { makeTestFolder } from '../../support/test-agent.ts'

const AT = new Date(0)
const WELL = {
  version: { name: 'containerd', version: '2.1' },
  error: undefined,
  ability: { state: 'yes' },
  checkedAt: AT,
} as const
const UNWELL = {
  ...WELL,
  error: 'cannot connect to /run/secret.sock for shop/web-0',
  ability: { state: 'no', code: 'CriuMissing', reason: 'no criu in /usr/local/secret' },
} as const

describe('checkHealth', () => {
  it('says nothing more of what is well', () => {
    using scene = makeScene()
    expect(checkHealth(scene.well).map(({ state, ...others }) => [state, Object.keys(others)])).toEqual(
      Array.from({ length: 10 }, () => ['ok', ['name']]),
    )
  })

  it('gives a reason and a next step for each check that fails, without a path, a name or a text of others', () => {
    using scene = makeScene()
    const { well } = scene
    scene.database.close()
    const checks = checkHealth({
      ...well,
      runtime: UNWELL,
      staging: new FullStaging('/nonexistent/secret'),
      frozenContainers: 2,
      canSeeFreezes: false,
      watchError: 'ENOSPC /secret',
      isIndexGone: true,
      custody: { ...well.custody, error: 'EIO /secret' },
    })
    for (const check of checks) {
      expect(check).toMatchObject({
        state: check.name === 'index' ? 'failed' : 'degraded',
        reason: expect.stringMatching(/\w{3}/) as string,
        hint: expect.stringMatching(/^[A-Z].*\w{3}.*\.$/) as string,
      })
    }
    expect(checks).toHaveLength(10)
    expect(JSON.stringify(checks)).not.toMatch(/secret|web-0/)
    expect(JSON.stringify(checks)).toContain('CriuMissing')
    expect(JSON.stringify(checks)).toContain('DirectoryMissing')
  })

  it.each([
    { sizeBytes: 85, reason: '85% of custody.maxSize' },
    { sizeBytes: 90, reason: '90% of custody.maxSize: no content is given' },
  ])('tells of a custody log that is nearly full: $reason', ({ sizeBytes, reason }) => {
    using scene = makeScene()
    const { well } = scene
    const checks = checkHealth({ ...well, custody: { ...well.custody, sizeBytes } })
    expect(checks.find(({ name }) => name === 'custody')).toMatchObject({
      state: 'degraded',
      reason,
      hint: expect.stringContaining('custody.maxSize') as string,
    })
  })
})

function makeScene(): { readonly well: HealthSources; readonly database: Sqlite.Database } & Disposable {
  const folder = makeTestFolder()
  const database = new Sqlite(':memory:')
  return {
    database,
    well: {
      runtime: WELL,
      staging: prepared(folder.path),
      database,
      frozenContainers: 0,
      canSeeFreezes: true,
      watchError: undefined,
      custody: { sizeBytes: 0, maxBytes: 100, reserveBytes: 10, error: undefined } as HealthSources['custody'],
      isIndexGone: false,
    },
    [Symbol.dispose]() {
      database.close()
      folder.remove()
    },
  }
}

/** Keeps an archive that could not be published. */
class FullStaging extends Staging {
  override get keptCount(): number {
    return 1
  }
}

function prepared(directory: string): Staging {
  const staging = new Staging(directory)
  staging.prepare()
  return staging
}
