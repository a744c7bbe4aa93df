import { readFileSync, mkdtempSync, rmSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { exchange, parseAnswer } from '../http/raw-request.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { writeArchive } from '../support/archive-builder.ts'
import { malformedRequest } from '../support/malformed-requests.ts'
import { Random } from '../support/random.ts'

const REQUESTS = 10_000
const AT_ONCE = 16
const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const NAME = 'checkpoint-web-0_shop-counter-2026-01-31T12:00:00Z.tar'
const GROWTH_MIB = 40

let folder: string
let agent: AgentProcess
let ids: string[]

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'e2e-malformed-'))
  const directory = join(folder, 'checkpoints')
  mkdirSync(directory, { mode: 0o700 })
  writeArchive(join(directory, NAME), {})
  agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: { 'checkpoints.directory': directory, 'runtime.socket': join(folder, 'none.sock'), 'log.level': 'info' },
  })
  await vi.waitUntil(async () => (await listIds()).length === 1, { timeout: 30_000, interval: 50 })
  ids = await listIds()
})

afterAll(async () => {
  await agent.kill9()
  rmSync(folder, { recursive: true, force: true })
})

describe(`${String(REQUESTS)} malformed requests (SEED=${String(SEED)})`, () => {
  it('are each refused by name, and leave the agent as it was', async () => {
    const random = new Random(SEED)
    const refused = new Map<string, Set<string>>()
    const wrong: unknown[] = []
    const send = async () => {
      const { defect, bytes } = malformedRequest(random, { ids })
      const problem = await refusalOf(bytes)
      const codes = refused.get(defect) ?? new Set()
      refused.set(defect, codes.add(`${String(problem.status)} ${String(problem.code)}`))
      if (!problem.isTyped) wrong.push({ defect, bytes: JSON.stringify(bytes.slice(0, 300)), problem })
    }
    // The first ones make room that stays.
    await times(REQUESTS / 5, send)
    const before = residentMiB()
    await times((REQUESTS / 5) * 4, send)
    console.log([...refused].map(([defect, codes]) => `${defect}: ${[...codes].toSorted().join(', ')}`).join('\n'))
    expect(wrong.slice(0, 5)).toEqual([])
    expect(residentMiB() - before).toBeLessThan(GROWTH_MIB)
    expect(await listIds()).toEqual(ids)
    const errors = agent.log().filter(({ level }) => level === 'error')
    expect(errors).toEqual([])
  })
})

interface Refusal {
  readonly status: number
  readonly code: unknown
  readonly isTyped: boolean
  readonly text: string
}

async function refusalOf(bytes: string): Promise<Refusal> {
  // Cut off by the agent while we were still sending: what it said may be lost with the connection.
  const text = await exchange(agent.port, bytes).catch(() => undefined)
  if (text === undefined) return { status: 0, code: 'cut off', isTyped: bytes.length > 60_000, text: '' }
  const { status, headers, body } = parseAnswer(text)
  const isPage = headers['content-type']?.startsWith('application/problem+json') === true
  const code = isPage ? (JSON.parse(body) as { code?: unknown }).code : undefined
  const hasTraces = /node:internal|\.ts:\d|\.js:\d|\/work\/|node_modules/.test(text) || text.includes(folder)
  const isTyped = status >= 400 && status < 500 && typeof code === 'string' && !hasTraces
  return { status, code, isTyped, text: text.slice(0, 500) }
}

async function times(count: number, work: () => Promise<void>): Promise<void> {
  let left = count
  const worker = async () => {
    while (left > 0) {
      left -= 1
      await work()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

async function listIds(): Promise<string[]> {
  const answer = await agent.request('GET', '/v1/checkpoints?state=ready')
  return answer.json<{ items: readonly { readonly id: string }[] }>().items.map(({ id }) => id)
}

function residentMiB(): number {
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${String(agent.pid)}/status`, 'utf8')) ?? []
  return Number(kibibytes) / 1024
}
