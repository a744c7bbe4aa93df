import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CheckpointList } from '../../src/api/checkpoint-schemas.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { writeArchive } from '../support/archive-builder.ts'
import { readMetric } from './support/captures-client.ts'

// A user namespace has limits of its own, so that the machine's others keep their watches.
const withLimit = (limit: string) => [
  'unshare',
  '--user',
  '--map-root-user',
  'sh',
  '-c',
  `echo 0 >/proc/sys/user/${limit} && exec "$@"`,
  'sh',
]
const RESCAN_SECONDS = 1

let folder: string
let checkpoints: string
let agent: AgentProcess

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'directory-watch-'))
  checkpoints = join(folder, 'checkpoints')
  mkdirSync(checkpoints, { mode: 0o700 })
})

afterEach(async () => {
  await agent.kill9()
  rmSync(folder, { recursive: true })
})

async function start(prefix: readonly string[], rescan: string): Promise<void> {
  agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: {
      'checkpoints.directory': checkpoints,
      'checkpoints.rescanInterval': rescan,
      'runtime.socket': join(folder, 'none.sock'),
    },
    prefix,
  })
}

function archive(pod: string): string {
  const path = join(checkpoints, `checkpoint-${pod}_shop-counter-2026-01-31T12:00:00Z.tar`)
  writeArchive(path, { namespace: 'shop', pod, container: 'counter' })
  return path
}

async function pods(): Promise<(string | undefined)[]> {
  const answer = await agent.request('GET', '/v1/checkpoints?sort=fileName')
  return answer.json<CheckpointList>().items.map(({ identity }) => identity.pod)
}

async function watchState(): Promise<string | undefined> {
  const answer = await agent.request('GET', '/readyz?verbose')
  expect(answer.status).toBe(200)
  const { checks } = answer.json<{ checks: readonly { name: string; state: string }[] }>()
  return checks.find(({ name }) => name === 'directory-watch')?.state
}

const isUp = () => readMetric(agent, 'checkpoint_agent_directory_watch_up')

describe('a node that has run out of watches', () => {
  it.each([
    { limit: 'max_inotify_instances', error: 'EMFILE' },
    { limit: 'max_inotify_watches', error: 'ENOSPC' },
  ])('($limit) is known all the same, says so, and is told of changes later', async ({ limit, error }) => {
    archive('before')
    await start(withLimit(limit), `${RESCAN_SECONDS}s`)
    await expect.poll(watchState).toBe('degraded')
    expect(await isUp()).toBe(0)
    expect(agent.log().find(({ msg }) => msg.startsWith('Cannot watch'))?.['error']).toContain(error)
    await expect.poll(pods).toEqual(['before'])

    const later = archive('later')
    await expect.poll(pods).toEqual(['before', 'later'])
    rmSync(later)
    await expect.poll(pods).toEqual(['before'])

    const allow = `echo 100 >/proc/sys/user/${limit}`
    execFileSync('nsenter', ['--user', '--preserve-credentials', '-t', String(agent.pid), 'sh', '-c', allow])
    await expect.poll(watchState, { timeout: 10_000 }).toBe('ok')
    expect(await isUp()).toBe(1)
  })
})

describe('a checkpoint directory that is removed and made again', () => {
  it('is watched again by the next rescan', async () => {
    await start([], `${RESCAN_SECONDS}s`)
    archive('first')
    await expect.poll(pods).toEqual(['first'])
    rmSync(checkpoints, { recursive: true })
    await expect.poll(pods).toEqual([])
    mkdirSync(checkpoints, { mode: 0o700 })
    archive('second')
    await expect.poll(pods).toEqual(['second'])
    await expect.poll(watchState).toBe('ok')
  })
})
