import { existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LeftoverImageWatch } from '../../../src/agent/containers/leftover-images.ts'
import { STAGING_FOLDER } from '../../../src/agent/directory/staging.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { diskFull } from '../../support/simulated-runtime-faults.ts'
import { recordingLogger, startTestAgent } from '../../support/test-agent.ts'

const ID = 'ab12'.repeat(16)
const COUNTER = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'test' }

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'leftovers-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

function leave(id: string, { ageSeconds = 0, bytes = 1000 } = {}): string {
  const path = join(directory, id, 'userdata', 'checkpoint')
  mkdirSync(path, { recursive: true })
  const image = join(path, 'pages-1.img')
  writeFileSync(image, Buffer.alloc(bytes))
  const time = Date.now() / 1000 - ageSeconds
  for (const each of [image, path]) utimesSync(each, time, time)
  return path
}

function watch({ busy = [] as readonly string[], at = directory } = {}) {
  const logger = recordingLogger()
  const isBusy = (id: string) => busy.includes(id)
  return { logger, leftovers: new LeftoverImageWatch({ directory: at, isBusy, clock: systemClock, logger }) }
}

describe('memory images that failed checkpoints left', () => {
  it('are found with their size and age, and named once with how to remove them', async () => {
    const path = leave(ID, { ageSeconds: 3600, bytes: 4096 })
    const { leftovers, logger } = watch()
    await leftovers.refresh()
    await leftovers.refresh()
    expect(leftovers.found).toMatchObject([{ containerId: ID, path, sizeBytes: 4096 }])
    expect(Date.now() - (leftovers.found?.[0]?.modifiedAt.getTime() ?? 0)).toBeGreaterThan(3_500_000)
    expect(logger.lines).toMatchObject([
      { level: 'warn', fields: { containerId: ID, path, hint: expect.stringContaining(`rm -r ${path}`) } },
    ])
    rmSync(path, { recursive: true })
    await leftovers.refresh()
    expect(leftovers.found).toEqual([])
  })

  it('are none while a dump may be going on', async () => {
    leave(ID, { ageSeconds: 5 })
    const other = 'cd34'.repeat(16)
    leave(other, { ageSeconds: 3600 })
    const { leftovers } = watch({ busy: [other] })
    await leftovers.refresh()
    expect(leftovers.found).toEqual([])
  })

  it('are there at once when the runtime has answered that the checkpoint failed', async () => {
    leave(ID)
    const { leftovers } = watch()
    expect(await leftovers.findAfterFailure(ID)).toMatchObject({ containerId: ID, sizeBytes: 1000 })
    await leftovers.refresh()
    expect(leftovers.found).toHaveLength(1)
    expect(await leftovers.findAfterFailure('ef56'.repeat(16))).toBeUndefined()
  })

  it('are not known where the directory cannot be read, and nothing else counts', async () => {
    const { leftovers } = watch({ at: join(directory, 'missing') })
    await leftovers.refresh()
    expect(leftovers.found).toBeUndefined()
    mkdirSync(join(directory, ID, 'userdata'), { recursive: true })
    writeFileSync(join(directory, ID, 'userdata', 'checkpoint'), 'a file')
    mkdirSync(join(directory, 'not-an-id', 'userdata', 'checkpoint'), { recursive: true })
    const there = watch().leftovers
    await there.refresh()
    expect(there.found).toEqual([])
  })
})

describe('a capture on CRI-O whose export fails', () => {
  it.each([
    { name: 'for want of room', code: 'DiskFull', spoil: () => undefined, script: diskFull },
    {
      name: 'because its staging directory was removed',
      code: 'DirectoryMissing',
      spoil: (staging: string) => rmSync(staging, { recursive: true }),
      script: { dumpMs: 500 },
    },
  ])('$name says where the memory of the container was left', async ({ code, spoil, script }) => {
    await using test = await startTestAgent({ crioStorage: directory }, { is: 'cri-o 1.36.3', storage: directory })
    const counter = test.runtime.webPod().container('counter')
    test.runtime.faults.next(script)
    const { id } = await test.agent.captures.request(COUNTER)
    const path = join(directory, counter.id, 'userdata', 'checkpoint')
    await vi.waitUntil(() => existsSync(path) || test.agent.captures.findInFlight(counter.id) === undefined)
    spoil(join(test.folder.checkpoints, STAGING_FOLDER, `${id}-0`))
    const job = await test.agent.captures.wait(id, {})
    expect(job.captures).toMatchObject([
      { state: 'failed', failure: { code, hint: expect.stringContaining(`rm -r ${path}`) } },
    ])
    await vi.waitFor(async () => {
      const { leftoverImages } = await test.agent.status(undefined)
      expect(leftoverImages).toMatchObject({ containers: 1, bytes: counter.memoryBytes, oldestAt: expect.any(Date) })
    }, 10_000)
    const { text } = await test.agent.metrics.render()
    expect(text).toContain('checkpoint_agent_leftover_images_containers 1')
    expect(text).toContain(`checkpoint_agent_leftover_images_bytes ${counter.memoryBytes}`)
    expect(existsSync(dirname(path))).toBe(true)
  })
})
