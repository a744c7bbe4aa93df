import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Custody } from '../../src/agent/custody/custody.ts'
import type { CustodyEntry } from '../../src/custody/custody-entry.ts'
import { CustodyLog } from '../../src/custody/custody-log.ts'
import { verifyCustody } from '../../src/custody/custody-verify.ts'
import { loadSigningKey } from '../../src/custody/signing-key.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { custodyEntries } from '../support/custody-files.ts'
import { repetitions } from './support/soak.ts'

/** The first 45 go through the steps one by one. */
const KILLS = repetitions({ usual: 48 })
const CONTENT_KILLS = repetitions({ soak: 300 })
const WRITER = join(import.meta.dirname, 'support/custody-writer.ts')
const CONTENT_WRITER = join(import.meta.dirname, 'support/content-writer.ts')
const HOW = ['before', 'within', 'after'] as const

describe('a program that is killed between any two steps of its custody log', () => {
  it(
    `has a sound log after each of ${KILLS} kills, and did nothing that is not in it`,
    { timeout: 600_000 },
    async () => {
      const root = mkdtempSync(join(tmpdir(), 'custody-crash-'))
      onTestFinished(() => rmSync(root, { recursive: true }))
      const begun = new Set<string>()
      for (let round = 0; round < KILLS; round += 1) {
        // The first steps one by one, those of the start among them; then anywhere.
        const step = round < 45 ? 1 + Math.floor(round / 3) : 1 + Math.floor(Math.random() * 150)
        const how = HOW[round % 3] ?? 'before'
        killWriter(WRITER, root, `${round}`, step, how)
        // And once more while the next one mends what that left.
        if (how === 'within')
          killWriter(WRITER, root, `${round}-again`, 1 + (Math.floor(round / 3) % 14), HOW[round % 2] ?? 'before')
        await mend(root)
        const report = await verifyCustody(join(root, 'custody'))
        expect(report.problems, `after step ${step}, killed ${how} it`).toEqual([])
        for (const { outcome, detail } of custodyEntries(join(root, 'custody'))) {
          if (outcome === 'intended') begun.add(String(detail?.['deed']))
        }
        expect(deedsIn(root).filter((deed) => !begun.has(deed))).toEqual([])
      }
      const torn = custodyEntries(join(root, 'custody')).filter(({ action }) => action === 'log.repair').length
      expect(custodyEntries(join(root, 'custody')).filter(({ action }) => action === 'tampering')).toEqual([])
      expect(torn).toBeGreaterThan(0)
      expect(readdirSync(join(root, 'custody')).filter((name) => /\.torn-\d+$/.test(name))).toEqual([])
      expect(deedsIn(root).length).toBeGreaterThan(KILLS)
    },
  )
})

describe('a program that is killed while it hands out content', () => {
  it(
    `has on record all that may have left after each of ${CONTENT_KILLS} kills, and its next start ends what was open`,
    { timeout: 600_000 },
    async () => {
      const root = mkdtempSync(join(tmpdir(), 'content-crash-'))
      onTestFinished(() => rmSync(root, { recursive: true }))
      let unknown = 0
      for (let round = 0; round < CONTENT_KILLS; round += 1) {
        const step = 8 + Math.floor(Math.random() * (round % 2 === 0 ? 20 : 150))
        killWriter(CONTENT_WRITER, root, `${round}`, step, HOW[round % 3] ?? 'before')
        const before = coverOf(contentIn(root).filter(({ outcome }) => outcome === 'intended'))
        expect(leftIn(root).filter((left) => !before(left))).toEqual([])
        await startOnce(root)
        const entries = contentIn(root)
        expect((await verifyCustody(join(root, 'custody'))).problems).toEqual([])
        const ends = entries.filter(({ outcome }) => outcome !== 'intended')
        const intents = entries.filter(
          ({ outcome, detail }) => outcome === 'intended' && detail?.['intent'] === undefined,
        )
        expect(ends.map(({ detail }) => Number(detail?.['intent'])).toSorted((a, b) => a - b)).toEqual(
          intents.map(({ seq }) => seq),
        )
        expect(leftIn(root).filter((left) => !coverOf(ends)(left))).toEqual([])
        unknown = ends.filter(({ outcome }) => outcome === 'unknown').length
      }
      expect(unknown).toBeGreaterThan(0)
      expect(leftIn(root).length).toBeGreaterThan(CONTENT_KILLS)
    },
  )
})

interface Left {
  readonly id: string
  readonly first?: number
  readonly end?: number
}

function leftIn(root: string): Left[] {
  return linesIn(join(root, 'left')).map((line) => JSON.parse(line) as Left)
}

function contentIn(root: string) {
  return custodyEntries(join(root, 'custody')).filter(({ action }) => action === 'content')
}

/** Whether these entries tell of what left: by what was announced, or by what was sent. */
function coverOf(entries: readonly CustodyEntry[]): (left: Left) => boolean {
  const covered = new Map<string, [number, number][]>()
  const withMembers = new Set<string>()
  for (const { checkpoint, detail, outcome } of entries) {
    const id = checkpoint?.id ?? ''
    const isTold = outcome === 'done'
    const texts = isTold ? (detail?.['ranges'] as string[]) : [String(detail?.['range'] ?? detail?.['announced'])]
    const ranges = texts.map((text) => text.split('-').map(Number) as [number, number])
    covered.set(id, [...(covered.get(id) ?? []), ...ranges])
    if (isTold ? detail?.['members'] !== undefined : detail?.['upTo'] === 'the whole') withMembers.add(id)
  }
  return ({ id, first, end }) => {
    if (first === undefined || end === undefined) return withMembers.has(id)
    return (covered.get(id) ?? []).some(([from, to]) => from <= first && end <= to + 1)
  }
}

/** What the next start of an agent does with its log. */
async function startOnce(root: string): Promise<void> {
  const custody = new Custody({
    stateDirectory: root,
    node: 'node-a',
    agentVersion: '0',
    maxBytes: 1024 ** 3,
    clock: systemClock,
    logger: silentLogger,
  })
  await custody.start()
  expect(custody.state.error).toBeUndefined()
  await custody.stop()
}

function killWriter(writer: string, root: string, round: string, step: number, how: string): void {
  const { signal, stderr } = spawnSync(process.execPath, [writer, root, round, String(step), how], { encoding: 'utf8' })
  expect({ signal, stderr }).toEqual({ signal: 'SIGKILL', stderr: '' })
}

/** What the next start does. */
async function mend(root: string): Promise<void> {
  const log = new CustodyLog({
    folder: join(root, 'custody'),
    node: 'node-a',
    key: loadSigningKey(join(root, 'custody-key.pem')),
    clock: systemClock,
    logger: silentLogger,
    maxBytes: 1024 ** 3,
    segmentBytes: 4_000,
  })
  await log.start()
  expect(log.state.error).toBeUndefined()
  await log.close()
}

function deedsIn(root: string): string[] {
  return linesIn(join(root, 'deeds'))
}

function linesIn(file: string): string[] {
  return existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : []
}
