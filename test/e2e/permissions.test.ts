import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CheckpointList, CheckpointResponse } from '../../src/api/checkpoint-schemas.ts'
import { startAgentProcess, type AgentProcess, type Settings } from '../support/agent-process.ts'
import { writeArchive } from '../support/archive-builder.ts'

// Root without a single capability is how the agent is meant to run: what belongs to others is closed to it.
const WITHOUT_CAPABILITIES = ['setpriv', '--bounding-set=-all', '--inh-caps=-all']
const ABLE_TO_CHOWN = ['setpriv', '--bounding-set=-all,+chown', '--inh-caps=-all']
const SOMEBODY = 12_345
/** A file counts as finished after a second. */
const PATIENCE = { timeout: 10_000 }

let folder: string
let checkpoints: string
let agent: AgentProcess

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'permissions-'))
  checkpoints = join(folder, 'checkpoints')
  mkdirSync(checkpoints, { mode: 0o700 })
})

afterEach(async () => {
  await agent.kill9()
  rmSync(folder, { recursive: true })
})

async function start(prefix: readonly string[], settings: Settings = {}): Promise<void> {
  agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: { 'checkpoints.directory': checkpoints, 'runtime.socket': join(folder, 'none.sock'), ...settings },
    prefix,
  })
}

function archive(pod: string, { mode = 0o600, owner = 0 } = {}): string {
  const path = join(checkpoints, `checkpoint-${pod}_shop-counter-2026-01-31T12:00:00Z.tar`)
  writeArchive(path, { namespace: 'shop', pod, container: 'counter' })
  chownSync(path, owner, owner)
  chmodSync(path, mode)
  return path
}

async function list(): Promise<readonly CheckpointResponse[]> {
  return (await agent.request('GET', '/v1/checkpoints?sort=fileName')).json<CheckpointList>().items
}

const states = async () => (await list()).map(({ state }) => state)
const digestOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

describe('an agent without capabilities', () => {
  it('lists what it may not read, says what to do, and reads it once that is done', async () => {
    const [closed] = [archive('a', { owner: SOMEBODY }), archive('b')]
    await start(WITHOUT_CAPABILITIES)
    await expect.poll(states, PATIENCE).toEqual(['damaged', 'ready'])
    const [row] = await list()
    expect(row).toMatchObject({
      sizeBytes: lstatSync(closed).size,
      problems: [
        { code: 'NotReadable', weight: 'damage', detail: expect.stringMatching(/user 12345.*chown/) as string },
      ],
    })
    // It stays so from look to look.
    chmodSync(closed, 0o400)
    chownSync(closed, 0, 0)
    await expect.poll(states, PATIENCE).toEqual(['ready', 'ready'])
    expect((await list())[0]).toMatchObject({ problems: [], sha256: digestOf(closed) })
  })

  it('tightens what is its own', async () => {
    const path = archive('a', { mode: 0o644 })
    await start(WITHOUT_CAPABILITIES)
    await expect.poll(states, PATIENCE).toEqual(['ready'])
    expect(lstatSync(path).mode & 0o777).toBe(0o600)
    expect(agent.log()).toContainEqual(
      expect.objectContaining({
        msg: 'Took away what others than root were allowed to do',
        what: 'archive',
        mode: '0644',
      }),
    )
  })

  it('lists what it can read and not change, and names that', async () => {
    const path = archive('a', { mode: 0o644, owner: SOMEBODY })
    await start(WITHOUT_CAPABILITIES)
    await expect.poll(states, PATIENCE).toEqual(['ready'])
    const codes = (await list())[0]?.problems.map(({ code }) => code)
    expect(codes).toEqual(['PermissionsTooWide', 'ForeignOwner'])
    expect(lstatSync(path)).toMatchObject({ uid: SOMEBODY })
  })
})

describe('an agent that was given the right to take ownership', () => {
  it.each([0o600, 0o640, 0o666])('takes the archive of somebody else, closes it and reads it: %o', async (mode) => {
    const path = archive('a', { mode, owner: SOMEBODY })
    await start(ABLE_TO_CHOWN)
    await expect.poll(states, PATIENCE).toEqual(['ready'])
    expect(lstatSync(path)).toMatchObject({ uid: 0 })
    expect(lstatSync(path).mode & 0o777).toBe(0o600)
    expect((await list())[0]).toMatchObject({ problems: [], sha256: digestOf(path) })
    const repair = agent.log().find(({ what }) => what === 'archive')
    expect(repair).toMatchObject({ mode: `0${mode.toString(8)}`, owner: SOMEBODY })
  })

  it('leaves it as it is with `report`', async () => {
    const path = archive('a', { owner: SOMEBODY })
    await start(ABLE_TO_CHOWN, { 'checkpoints.permissions': 'report' })
    await expect.poll(states, PATIENCE).toEqual(['damaged'])
    expect(lstatSync(path)).toMatchObject({ uid: SOMEBODY })
  })
})

describe('what is no regular file', () => {
  it('is neither opened nor listed, and holds up nothing', async () => {
    const name = (pod: string) => join(checkpoints, `checkpoint-${pod}_shop-counter-2026-01-31T12:00:00Z.tar`)
    execFileSync('mkfifo', [name('fifo')])
    execFileSync('mknod', [name('device'), 'c', '1', '5'])
    execFileSync('ln', ['-s', '/etc/shadow', name('link')])
    execFileSync('ln', ['-s', 'nowhere', name('broken')])
    mkdirSync(name('folder'))
    writeFileSync(join(checkpoints, '.hidden.tar'), 'x')
    writeFileSync(`${name('pinned')}.keep`, 'x')
    archive('real')
    await start([])
    await expect.poll(states, PATIENCE).toEqual(['ready'])
    execFileSync('mkfifo', [name('later')])
    archive('real-too')
    await expect.poll(states, PATIENCE).toEqual(['ready', 'ready'])
    expect((await agent.request('GET', '/v1/node')).json<{ checkpoints: object }>().checkpoints).toMatchObject({
      count: 2,
    })
  })
})
