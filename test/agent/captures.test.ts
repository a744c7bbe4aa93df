import { lstatSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { jobState } from '../../src/checkpoint/capture-job.ts'
import { diskFull, establishedTcp, fails, fileWithoutEnd, fileWithStaleTail, halfFileThenError, noFile, slow } from '../support/simulated-runtime-faults.ts'
import { startTestAgent } from '../support/test-agent.ts'

const COUNTER = { namespace: 'shop', pod: 'web-node-a', container: 'counter', requestedBy: 'test' }

describe('Captures', () => {
  it('takes a checkpoint under the kubelet\'s name, for root only', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    const { id } = await test.agent.captures.request(COUNTER)
    const job = await test.agent.captures.wait(id, {})
    expect(jobState(job)).toBe('succeeded')
    const [name = ''] = test.archives()
    expect(name).toMatch(/^checkpoint-web-node-a_shop-counter-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)\.tar$/)
    const stat = lstatSync(join(test.folder.checkpoints, name))
    expect(stat.mode & 0o777).toBe(0o600)
    expect(job.captures[0]).toMatchObject({
      identity: { namespace: 'shop', pod: 'web-node-a', container: 'counter' },
      bytesWritten: stat.size,
      archive: { fileName: name, sizeBytes: stat.size },
    })
    expect(job.captures[0]?.phases.map((phase) => phase.name)).toEqual(['admission', 'dump', 'verify', 'sync', 'publish'])
    expect(test.leftovers()).toEqual([])
    expect(test.runtime.calls.overlaps).toBe(0)
  })

  it('gives a name that is taken the next free second, and touches nothing of the other file', async () => {
    const now = new Date('2026-11-21T10:00:00.500Z')
    await using test = await startTestAgent({ clock: { now: () => now } })
    test.runtime.webPod()
    const first = await test.agent.captures.request(COUNTER)
    await test.agent.captures.wait(first.id, {})
    const [taken = ''] = test.archives()
    writeFileSync(join(test.folder.checkpoints, taken), 'somebody else\'s')
    const second = await test.agent.captures.request(COUNTER)
    await test.agent.captures.wait(second.id, {})
    expect(test.archives()).toHaveLength(2)
    expect(readFileSync(join(test.folder.checkpoints, taken), 'utf8')).toBe('somebody else\'s')
  })

  it.each([
    { name: 'a full disk', script: diskFull, code: 'DiskFull' },
    { name: 'an established connection', script: establishedTcp, code: 'TcpEstablished' },
    { name: 'an error with half a file', script: halfFileThenError, code: 'Unclassified' },
    { name: 'success without an archive', script: noFile, code: 'ArchiveIncomplete' },
    { name: 'success with an archive that is cut off', script: fileWithoutEnd, code: 'ArchiveIncomplete' },
    { name: 'success with the tail of an older file', script: fileWithStaleTail, code: 'ArchiveIncomplete' },
    { name: 'a runtime that gave up', script: fails(14, 'transport is closing'), code: 'RuntimeUnavailable' },
  ])('leaves nothing behind after $name', async ({ script, code }) => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.next(script)
    const { id } = await test.agent.captures.request(COUNTER)
    const job = await test.agent.captures.wait(id, {})
    expect(job.captures[0]).toMatchObject({ state: 'failed', failure: { code } })
    expect(test.archives()).toEqual([])
    expect(test.leftovers()).toEqual([])
  })

  it('lets the caller go when its time is over, and goes on', async () => {
    await using test = await startTestAgent()
    test.runtime.webPod()
    test.runtime.faults.next(slow(600))
    const { id } = await test.agent.captures.request(COUNTER)
    const early = await test.agent.captures.wait(id, { timeoutMs: 100 })
    expect(jobState(early)).toBe('running')
    expect(jobState(await test.agent.captures.wait(id, {}))).toBe('succeeded')
    expect(test.runtime.calls.checkpoints().every(({ hasDeadline }) => !hasDeadline)).toBe(true)
  })
})
