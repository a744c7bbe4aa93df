import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { CustodyLog } from '../../src/custody/custody-log.ts'
import { verifyCustody } from '../../src/custody/custody-verify.ts'
import { loadSigningKey } from '../../src/custody/signing-key.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { custodyEntries } from '../support/custody-files.ts'

const KILLS = 100
const WRITER = join(import.meta.dirname, 'support/custody-writer.ts')
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
        killWriter(root, `${round}`, step, how)
        // And once more while the next one mends what that left.
        if (how === 'within')
          killWriter(root, `${round}-again`, 1 + (Math.floor(round / 3) % 14), HOW[round % 2] ?? 'before')
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

function killWriter(root: string, round: string, step: number, how: string): void {
  const { signal, stderr } = spawnSync(process.execPath, [WRITER, root, round, String(step), how], { encoding: 'utf8' })
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
  expect(log.state.trouble).toBeUndefined()
  await log.close()
}

function deedsIn(root: string): string[] {
  const file = join(root, 'deeds')
  return existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : []
}
