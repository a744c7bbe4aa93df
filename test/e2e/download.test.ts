import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AGE_IDENTITIES } from '../support/age-program.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { counterProcesses, writeArchive } from '../support/archive-builder.ts'
import { rawHeader } from '../support/raw-tar.ts'
import { installPrograms } from './harness/client-programs.ts'

// Real clients against the agent as a process of its own. No runtime is needed: the archives are there already.

const run = promisify(execFile)
const MIB = 1024 * 1024
const NAME = 'checkpoint-web-0_shop-counter-2026-01-31T12:00:00Z.tar'
const FIVE_GIB = 'checkpoint-big_shop-hog-2026-01-31T12:00:00Z.tar'
const SHORT = { 'age-empty.tar': 0, 'age-one.tar': 1, 'age-chunk.tar': 65_536 } as const

let folder: string
let directory: string
let agent: AgentProcess
let url: string
let digest: string

beforeAll(async () => {
  await installPrograms('age', 'aria2c', 'curl', 'wget', 'zstd')
  folder = mkdtempSync(join(tmpdir(), 'e2e-download-'))
  directory = join(folder, 'checkpoints')
  mkdirSync(directory, { mode: 0o700 })
  writeArchive(join(directory, NAME), { processes: counterProcesses(200 * MIB) })
  writeSparse(join(directory, FIVE_GIB), 5 * 1024 * MIB)
  for (const [name, size] of Object.entries(SHORT)) writeFileSync(join(directory, name), Buffer.alloc(size, 'x'))
  agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: { 'checkpoints.directory': directory, 'runtime.socket': join(folder, 'none.sock'), 'content.perUser': 8 },
  })
  url = await urlOf(NAME, 'ready')
  digest = await sha256(join(directory, NAME))
}, 300_000)

afterAll(async () => {
  await agent.kill9()
  rmSync(folder, { recursive: true, force: true })
})

describe('curl', () => {
  it('gets the whole, under a name that tar takes for a file', async () => {
    const here = emptyFolder('whole')
    await run('curl', ['-sSf', '-OJ', url], { cwd: here })
    const [saved = ''] = readdirSync(here)
    expect(saved).toBe(NAME.replaceAll(':', '-'))
    expect(await sha256(join(here, saved))).toBe(digest)
    const { stdout } = await run('tar', ['-tf', saved], { cwd: here })
    expect(stdout).toContain('checkpoint/inventory.img')
  })

  it('gets the same, killed and resumed twenty times at random places', async () => {
    const file = join(emptyFolder('resumed'), 'archive')
    writeFileSync(file, '')
    const { size } = statSync(join(directory, NAME))
    const stops: number[] = []
    for (let part = 0; part < 20; part += 1) {
      stops.push(await fetchUntil(file, Math.floor(((part + Math.random()) * size) / 21)))
    }
    expect(stops).toEqual(stops.toSorted((a, b) => a - b))
    expect(new Set(stops).size).toBe(20)
    expect(stops.at(-1)).toBeLessThan(size)
    await run('curl', ['-sSf', '-C', '-', '-o', file, url])
    expect(statSync(file).size).toBe(size)
    expect(await sha256(file)).toBe(digest)
  })

  it.each(['gzip', 'zstd'])('gets it packed, and unpacked it is the same: %s', async (coding) => {
    const file = join(emptyFolder(coding), 'archive')
    await run('sh', ['-c', `curl -sSf -H 'Accept-Encoding: ${coding}' "$0" | ${coding} -dc > "$1"`, url, file])
    expect(await sha256(file)).toBe(digest)
  })

  it('says partial file (18) when the archive is removed meanwhile', async () => {
    const name = 'checkpoint-gone_shop-counter-2026-01-31T12:00:00Z.tar'
    writeArchive(join(directory, name), { pod: 'gone', processes: counterProcesses(200 * MIB) })
    const download = run('curl', ['-sS', '--limit-rate', '50M', '-o', '/dev/null', await urlOf(name, 'ready')])
    const ended = download.then(
      () => 0,
      (error: { readonly code?: number }) => error.code,
    )
    await sleep(1000)
    rmSync(join(directory, name))
    expect(await ended).toBe(18)
  })
})

describe.each([
  { client: 'wget', args: ['-q', '-c', '-O', 'archive'], first: ['-q', '-O', 'archive'] },
  { client: 'aria2c', args: ['-q', '-c', '-x', '4', '-k', '1M', '-o', 'archive'], first: [] },
])('$client', ({ client, args, first }) => {
  it('gets the same, and goes on with what it has', async () => {
    const here = emptyFolder(client)
    await run(client, [...(first.length > 0 ? first : args), url], { cwd: here })
    expect(await sha256(join(here, 'archive'))).toBe(digest)
    truncateSync(join(here, 'archive'), 77 * MIB + 13)
    await run(client, [...args, url], { cwd: here })
    expect(await sha256(join(here, 'archive'))).toBe(digest)
  })
})

describe('age', () => {
  it.each(Object.keys(SHORT))('opens what we encrypt: %s', async (name) => {
    expect(await openWithAge(name, AGE_IDENTITIES.slice(0, 1))).toEqual([await sha256(join(directory, name))])
  })

  it('opens it for each of three recipients', async () => {
    expect(await openWithAge(NAME, AGE_IDENTITIES)).toEqual([digest, digest, digest])
  })

  it('opens 5 GiB', async () => {
    expect(await openWithAge(FIVE_GIB, AGE_IDENTITIES.slice(0, 1))).toEqual([await sha256(join(directory, FIVE_GIB))])
  }, 300_000)
})

/** Goes on with the file until it has more than so many bytes, and gives how many it has when curl was killed. */
async function fetchUntil(file: string, wantedBytes: number): Promise<number> {
  const before = statSync(file).size
  const curl = spawn('curl', ['-sS', '--limit-rate', '60M', '-C', '-', '-o', file, url], { stdio: 'ignore' })
  const ended = new Promise((resolve) => curl.once('exit', resolve))
  while (statSync(file).size <= Math.max(wantedBytes, before) && curl.exitCode === null) await sleep(5)
  curl.kill('SIGKILL')
  await ended
  return statSync(file).size
}

/** Encrypted to all of them at once; the digest of what each of them gets out of it. */
async function openWithAge(name: string, identities: typeof AGE_IDENTITIES): Promise<string[]> {
  const here = emptyFolder('age')
  const query = identities.map(({ recipient }) => `recipient=${recipient}`).join('&')
  const source = await urlOf(name)
  const digests: string[] = []
  for (const { secret } of identities) {
    writeFileSync(join(here, 'key'), `${secret}\n`, { mode: 0o600 })
    const script = 'set -o pipefail; curl -sSf "$0" | age -d -i "$1" | sha256sum'
    const { stdout } = await run('bash', ['-c', script, `${source}?${query}&incomplete=true`, join(here, 'key')])
    digests.push(stdout.slice(0, 64))
  }
  return digests
}

async function urlOf(fileName: string, state?: string): Promise<string> {
  for (const began = performance.now(); performance.now() - began < 60_000; await sleep(100)) {
    const { items } = (await agent.request('GET', '/v1/checkpoints?limit=100')).json<{
      items: readonly { readonly id: string; readonly fileName: string; readonly state: string }[]
    }>()
    const found = items.find((item) => item.fileName === fileName && (state === undefined || item.state === state))
    if (found !== undefined) return `http://127.0.0.1:${agent.port}/v1/checkpoints/${found.id}/archive`
  }
  throw new Error(`${fileName} is not in the list`)
}

/** One member of zeros that take no room on the disk. */
function writeSparse(path: string, sizeBytes: number): void {
  const file = openSync(path, 'w', 0o600)
  writeSync(file, rawHeader({ name: 'checkpoint/pages-1.img', size: sizeBytes }))
  closeSync(file)
  truncateSync(path, sizeBytes + 3 * 512)
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

function emptyFolder(name: string): string {
  return mkdtempSync(join(folder, `${name}-`))
}
