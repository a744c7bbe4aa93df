import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CustodyEntry } from '../../src/custody/custody-entry.ts'
import type { CheckpointList, CheckpointResponse, VerificationResponse } from '../../src/api/checkpoint-schemas.ts'
import { AGE_IDENTITIES } from '../support/age-program.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { writeArchive } from '../support/archive-builder.ts'

// What somebody does to an archive behind the agent's back, and what people do through it: both are on record.

const RESCAN_MS = 1000

let folder: string
let directory: string
let agent: AgentProcess | undefined

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'e2e-tampering-'))
  directory = join(folder, 'checkpoints')
  mkdirSync(directory, { mode: 0o700 })
  await startAgent()
})

afterAll(async () => {
  await agent?.kill9()
  rmSync(folder, { recursive: true, force: true })
})

describe('an archive that somebody changes', () => {
  it('in place, with its size and its time of writing as they were', async () => {
    const { id, path, sha256 } = await archive('in-place')
    const before = statSync(path, { bigint: true })
    overwrite(path)
    const after = statSync(path, { bigint: true })
    expect([after.ino, after.size, after.mtimeNs]).toEqual([before.ino, before.size, before.mtimeNs])
    await expectReported(id, { problem: 'DigestChanged', recordedSha256: sha256, sha256: digestOf(path) })
    expect(await verify(id)).toMatchObject({ intact: false, custody: 'different', sha256: digestOf(path) })
  })

  it('in place while no agent runs', async () => {
    const { id, path, sha256 } = await archive('unwatched')
    await running().kill9()
    overwrite(path)
    await startAgent()
    expect(digestOf(path)).not.toBe(sha256)
    await expectReported(id, { problem: 'DigestChanged', recordedSha256: sha256, sha256: digestOf(path) })
  })

  it('by putting another one in its place', async () => {
    const { id, path, sha256 } = await archive('replaced')
    const other = join(folder, 'other.tar')
    copyFileSync(path, other)
    overwrite(other)
    execFileSync('touch', ['-r', path, other])
    renameSync(other, path)
    await expectReported(id, { problem: 'DigestChanged', recordedSha256: sha256, sha256: digestOf(path) })
    expect(await verify(id)).toMatchObject({ intact: false, custody: 'different' })
  })

  it('in place, found by who verifies it at once', async () => {
    const { id, path } = await archive('verified')
    overwrite(path)
    expect(await verify(id)).toMatchObject({ intact: false, custody: 'different', sha256: digestOf(path) })
    await expect.poll(async () => (await entriesOf(id, 'tampering')).length).toBeGreaterThan(0)
  })

  it('by removing it', async () => {
    const { id, path, sha256 } = await archive('removed')
    rmSync(path)
    await expectReported(id, { problem: 'Gone' })
    expect((await entriesOf(id, 'tampering'))[0]?.checkpoint?.sha256).toBe(sha256)
    expect((await running().request('POST', `/v1/checkpoints/${id}/verify`)).status).toBe(404)
  })

  it('not at all: other rights are no other bytes', async () => {
    const { id, path } = await archive('untouched')
    execFileSync('chmod', ['0400', path])
    expect(await verify(id)).toMatchObject({ intact: true, custody: 'same' })
    const { rescans } = await readRescans()
    await expect.poll(async () => (await readRescans()).rescans).toBeGreaterThan(rescans + 2)
    expect(await entriesOf(id, 'tampering')).toEqual([])
  })
})

describe('what people do', () => {
  it('is on record with who did it, which request it was, and how it ended', async () => {
    const { id, sha256 } = await archive('handled')
    const pinned = await running().request('PUT', `/v1/checkpoints/${id}/pin`, { body: { reason: 'case 7' } })
    const refused = await running().request('DELETE', `/v1/checkpoints/${id}`)
    const unpinned = await running().request('DELETE', `/v1/checkpoints/${id}/pin`, { overSocket: true })
    const removed = await running().request('DELETE', `/v1/checkpoints/${id}`)
    expect([pinned.status, refused.status, unpinned.status, removed.status]).toEqual([200, 409, 200, 204])

    const entries = await entriesOf(id)
    const by = (answer: { headers: Readonly<Record<string, string>> }) =>
      entries.filter(({ actor }) => actor.requestId === answer.headers['x-request-id'])
    expect(by(pinned).map(({ action, outcome, actor }) => ({ action, outcome, user: actor.user }))).toContainEqual({
      action: 'pin',
      outcome: 'done',
      user: 'system:anonymous',
    })
    expect(by(unpinned)[0]?.actor).toMatchObject({ user: 'system:local-root' })
    expect(by(removed).map(({ action, outcome }) => `${action} ${outcome}`)).toEqual(['delete intended', 'delete done'])
    expect(by(removed)[0]).toMatchObject({ actor: { address: '127.0.0.1' }, checkpoint: { id, sha256 } })
    expect(await entriesOf(id, 'tampering')).toEqual([])
  })

  it('with content is on record before the first byte, and afterwards with what was sent', async () => {
    const { id } = await archive('read')
    const recipient = AGE_IDENTITIES[0]?.recipient ?? ''
    const path = `/v1/checkpoints/${id}/archive`
    const part = await running().request('GET', path, { headers: { range: 'bytes=100-299' } })
    await running().request('GET', path, { headers: { range: 'bytes=1000-1099' } })
    const sealed = await running().request('GET', `${path}?recipient=${recipient}`, { overSocket: true })
    expect([part.status, sealed.status]).toEqual([206, 200])
    const { sizeBytes = 0 } = (await entriesOf(id))[0]?.checkpoint ?? {}

    const begun = await entriesOf(id, 'content')
    expect(begun).toMatchObject([
      {
        actor: { user: 'system:anonymous', address: '127.0.0.1', requestId: part.headers['x-request-id'] },
        detail: { what: 'archive', range: `100-${sizeBytes - 1}` },
        outcome: 'intended',
      },
      {
        actor: { user: 'system:local-root', requestId: sealed.headers['x-request-id'] },
        detail: { recipients: [recipient], range: `0-${sizeBytes - 1}` },
        outcome: 'intended',
      },
    ])
    expect(begun[0]?.detail).not.toHaveProperty('recipients')

    // How it ended is written a minute after the last request, and when the agent stops.
    await running().sigterm()
    await startAgent()
    expect((await entriesOf(id, 'content')).slice(2)).toMatchObject([
      { outcome: 'done', detail: { intent: begun[0]?.seq, ranges: ['100-299', '1000-1099'], sentBytes: 300 } },
      { outcome: 'done', detail: { intent: begun[1]?.seq, recipients: [recipient], sentBytes: sizeBytes } },
    ])
  })
})

async function startAgent(): Promise<void> {
  agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: {
      'checkpoints.directory': directory,
      'checkpoints.rescanInterval': `${RESCAN_MS}ms`,
      'runtime.socket': join(folder, 'none.sock'),
    },
  })
}

function running(): AgentProcess {
  if (agent === undefined) throw new Error('no agent runs')
  return agent
}

/** Whole, and its digest on record. */
async function archive(pod: string): Promise<{ id: string; path: string; sha256: string }> {
  const fileName = `checkpoint-${pod}_shop-counter-2026-01-31T12:00:00Z.tar`
  const path = join(directory, fileName)
  writeArchive(path, { pod })
  let found: CheckpointResponse | undefined
  await expect
    .poll(async () => {
      const answer = await running().request('GET', '/v1/checkpoints?limit=100')
      found = answer.json<CheckpointList>().items.find((item) => item.fileName === fileName)
      return found === undefined ? [] : entriesOf(found.id, 'digest')
    })
    .toHaveLength(1)
  const sha256 = digestOf(path)
  expect(found?.sha256).toBe(sha256)
  return { id: found?.id ?? '', path, sha256 }
}

/** One byte of the memory in it, and nobody sees by the times that it was written to. */
function overwrite(path: string): void {
  const script = `
    touch -r "$1" "$1.times"
    at=$(grep -abo counting "$1" | head -n 1 | cut -d: -f1)
    printf C | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
    touch -r "$1.times" "$1"
    rm "$1.times"`
  execFileSync('sh', ['-ec', script, 'sh', path])
}

function digestOf(path: string): string {
  return execFileSync('sha256sum', [path], { encoding: 'utf8' }).replace(/^\\/, '').slice(0, 64)
}

async function verify(id: string): Promise<VerificationResponse> {
  return (await running().request('POST', `/v1/checkpoints/${id}/verify`)).json<VerificationResponse>()
}

async function entriesOf(id: string, action?: string): Promise<readonly CustodyEntry[]> {
  const answer = await running().request('GET', `/v1/custody?checkpoint=${id}&limit=1000`)
  expect(answer.status).toBe(200)
  return answer
    .json<{ items: CustodyEntry[] }>()
    .items.filter((entry) => action === undefined || entry.action === action)
}

/** Once, whatever comes after it, and the log is sound. */
async function expectReported(id: string, detail: Record<string, string>): Promise<void> {
  await expect.poll(async () => (await entriesOf(id, 'tampering')).length).toBe(1)
  expect((await entriesOf(id, 'tampering'))[0]).toMatchObject({ actor: { user: 'system:checkpoint-agent' }, detail })
  expect((await running().request('GET', '/v1/custody/verify')).json()).toMatchObject({ sound: true })
}

async function readRescans(): Promise<{ rescans: number }> {
  const { text } = await running().request('GET', '/metrics')
  return { rescans: Number(/^checkpoint_agent_\w*rescans\w* (\d+)$/m.exec(text)?.[1]) }
}
