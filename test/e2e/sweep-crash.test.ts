import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { CustodyEntry } from '../../src/custody/custody-entry.ts'
import { verifyCustody } from '../../src/custody/custody-verify.ts'
import { SWEEP_FAIL_POINTS } from '../../src/shared/fail-point.ts'
import { startAgentProcess, type AgentProcess } from '../support/agent-process.ts'
import { writeArchive } from '../support/archive-builder.ts'
import { compileAgentOnce } from '../support/compiled-agent.ts'
import { custodyEntries } from '../support/custody-files.ts'
import { repetitions } from './support/soak.ts'

/** Each point four times, once in each scene. */
const KILLS = repetitions({ usual: 4 * SWEEP_FAIL_POINTS.length })
/** Each with agents, archives and a log of its own, which is read from its start after each kill. */
const SCENES = 4
const AT_ONCE = 2
const WORKLOADS = 8
/** Of two batches and more, so that a sweep can also die in its second one. */
const ENOUGH = 150
const REFILL = 400
const HOUR_MS = 3_600_000

const POLICY = { schedule: '', rules: [{ match: { namespace: 'shop' }, maxCount: 1 }] }

compileAgentOnce()

describe('an agent that is killed between any two steps of a sweep', () => {
  it(
    `has the same files, rows and custody entries after each of ${KILLS} kills, and loses nothing that was to stay`,
    { timeout: 1_800_000 },
    async () => {
      const scenes = Array.from({ length: SCENES }, () => new Scene())
      const ends: (string | undefined)[] = []
      const turns = scenes.entries()
      const playInTurn = async () => {
        for (const [number, scene] of turns) ends.push(...(await play(scene, number)))
      }
      await Promise.all(Array.from({ length: AT_ONCE }, playInTurn))
      expect(new Set(ends)).toEqual(new Set(['done', 'failed']))
    },
  )
})

/** Every so manieth of the kills, and then a sweep that nobody interrupts. Gives how the interrupted prunes ended. */
async function play(scene: Scene, number: number): Promise<(string | undefined)[]> {
  for (let round = number; round < KILLS; round += SCENES) {
    const point = SWEEP_FAIL_POINTS[round % SWEEP_FAIL_POINTS.length] ?? 'sweep.planned'
    const pass = passOf(point, round)
    const agent = await scene.start(`${point}-${pass}`)
    await scene.settled(agent, `before ${point}-${pass} (round ${round})`)
    if (scene.spare < ENOUGH) await scene.refill(agent)
    await agent.request('POST', '/v1/retention/sweep').catch(() => undefined)
    expect(await agent.ended, `${point}-${pass}`).toMatchObject({ signal: 'SIGKILL' })
    // And once more while the next one brings things to order.
    if (round % 5 === 4) {
      const next = await scene.start('')
      await sleep(Math.random() * 300)
      await next.kill9()
    }
  }
  const agent = await scene.start('')
  await scene.settled(agent, 'at last')
  expect((await agent.request('POST', '/v1/retention/sweep')).status).toBe(200)
  await scene.settled(agent, 'after a whole sweep')
  expect(scene.files()).toEqual(scene.keepers.toSorted())
  expect(await agent.sigterm()).toBe(0)
  expect((await verifyCustody(scene.custody)).problems).toEqual([])
  const interrupted = scene.entries().filter(({ detail }) => detail?.['found'] === 'after an interruption')
  return interrupted.map(({ outcome }) => outcome)
}

/** The steps of a batch are passed once a batch, and the files of it one by one; the rows of a few batches go together. */
function passOf(point: string, round: number): number {
  if (point === 'sweep.unlinked') return 1 + ((round * 7) % 100)
  const isPassedOnce = ['sweep.planned', 'sweep.forgotten', 'sweep.reported'].includes(point)
  return isPassedOnce ? 1 : 1 + (Math.floor(round / 7) % 2)
}

class Scene {
  readonly root = mkdtempSync(join(tmpdir(), 'sweep-crash-'))
  readonly directory = join(this.root, 'checkpoints')
  readonly custody = join(this.root, 'agent/state/custody')
  /** The newest of each workload. */
  readonly keepers: string[] = []
  readonly #written: string[] = []
  #hoursAgo = 0

  constructor() {
    onTestFinished(() => rmSync(this.root, { recursive: true }))
    mkdirSync(this.directory, { mode: 0o700 })
    for (let workload = 0; workload < WORKLOADS; workload += 1) this.keepers.push(this.#write(workload))
  }

  get spare(): number {
    return this.files().length - WORKLOADS
  }

  start(failPoint: string): Promise<AgentProcess> {
    return startAgentProcess({
      folder: join(this.root, 'agent'),
      settings: {
        'node.name': 'node-a',
        'checkpoints.directory': this.directory,
        'runtime.socket': join(this.root, 'no-runtime.sock'),
        'debug.failPoint': failPoint,
      },
      retention: POLICY,
    })
  }

  /** Adds archives that are all older than those to keep, and waits until the agent is through with them. */
  async refill(agent: AgentProcess): Promise<void> {
    for (let at = 0; at < REFILL; at += 1) this.#write(at % WORKLOADS)
    await vi.waitFor(
      async () => {
        const { text: body } = await agent.request('GET', '/v1/checkpoints?state=ready&limit=1')
        const { items, remaining } = JSON.parse(body) as { items: unknown[]; remaining: number }
        if (items.length + remaining !== this.files().length) throw new Error(`${items.length + remaining} are ready`)
      },
      { timeout: 30_000, interval: 200 },
    )
  }

  /** Waits until what a crash left is in order, which is soon after the start; fails with what is not. */
  async settled(agent: AgentProcess, when: string): Promise<void> {
    await vi.waitFor(
      async () => {
        const mistakes = await this.#mistakes(agent)
        if (mistakes.length > 0) throw new Error(`${when}: ${mistakes.join('; ')}`)
      },
      { timeout: 15_000, interval: 50 },
    )
  }

  files(): string[] {
    return readdirSync(this.directory)
      .filter((name) => !name.startsWith('.'))
      .toSorted()
  }

  entries(): CustodyEntry[] {
    return custodyEntries(this.custody)
  }

  async #mistakes(agent: AgentProcess): Promise<string[]> {
    const { text: body } = await agent.request('GET', '/v1/checkpoints?limit=1000')
    const rows = new Set((JSON.parse(body) as { items: { fileName: string }[] }).items.map(({ fileName }) => fileName))
    const files = new Set(this.files())
    const ends = new Map<string, string>()
    const entries = this.entries()
    for (const { action, checkpoint, outcome } of entries) {
      if (action === 'prune' && checkpoint !== undefined) ends.set(checkpoint.fileName, outcome)
    }
    return [
      ...this.#written.filter((name) => files.has(name) !== rows.has(name)).map((name) => `file without row: ${name}`),
      ...this.#written
        .filter((name) => files.has(name) === (ends.get(name) === 'done'))
        .map(
          (name) => `${files.has(name) ? 'there' : 'gone'}, and the log says ${ends.get(name) ?? 'nothing'}: ${name}`,
        ),
      ...[...ends]
        .filter(([, outcome]) => outcome === 'intended')
        .map(([name]) => `nobody knows how it ended: ${name}`),
      ...this.keepers.filter((name) => !files.has(name)).map((name) => `was to stay: ${name}`),
      ...entries
        .filter(({ action }) => action === 'tampering')
        .map(({ checkpoint }) => `tampering: ${checkpoint?.fileName}`),
    ]
  }

  #write(workload: number): string {
    this.#hoursAgo += 1
    const takenAt = new Date(Date.now() - this.#hoursAgo * HOUR_MS)
    takenAt.setMilliseconds(0)
    const pod = `web${workload}-node-a`
    const name = `checkpoint-${pod}_shop-counter-${takenAt.toISOString().replace('.000', '')}.tar`
    const path = join(this.root, name)
    writeArchive(path, { pod, checkpointedAt: takenAt })
    utimesSync(path, takenAt, takenAt)
    // Renamed into place it is finished at once.
    renameSync(path, join(this.directory, name))
    this.#written.push(name)
    return name
  }
}
