import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { archivesOpenToOthers, digestsIn, openInventory, quiet } from '../support/inventory-oracle.ts'
import { startWriters } from '../support/concurrent-writers.ts'

// What events have made of it against what a fresh look at the same directory makes of it, and against the files.

const DEEDS = 10_000
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32))

describe(`a directory in which others do ${DEEDS} things at random (SEED=${seed})`, () => {
  it('is known as a fresh look at it would know it', { timeout: 300_000 }, async () => {
    const root = mkdtempSync(join(tmpdir(), 'inventory-oracle-'))
    const [directory, outside] = [join(root, 'checkpoints'), join(root, 'outside')]
    for (const folder of [directory, outside]) mkdirSync(folder, { mode: 0o700 })
    const writers = startWriters({ directory, outside, seed, most: 400 })
    const watching = openInventory(directory)
    try {
      for (let done = 0; done < DEEDS; done += 50) {
        await writers.act(50)
        // Now in a burst, now with time to settle and to be hashed.
        await sleep(done % 1000 === 0 ? 400 : 5)
      }
      await quiet(watching)
      // By events alone: not one rescan but that of the start and of the watch.
      expect(watching.inventory.rescans).toBeLessThanOrEqual(3)
      expect(archivesOpenToOthers(directory)).toEqual([])
      const fresh = openInventory(directory)
      await fresh.inventory.rescan()
      await quiet(fresh)
      expect(watching.rows()).toEqual(fresh.rows())
      await fresh.stop()
      expect(writers.counts.size).toBe(18)

      const digests = digestsIn(directory)
      const rows = watching.rows() as readonly Checkpoint[]
      expect(rows.map(({ fileName }) => fileName)).toEqual([...digests.keys()].toSorted())
      const ready = rows.filter(({ state }) => state === 'ready')
      expect(ready.length).toBeGreaterThan(20)
      for (const { fileName, sha256 } of ready)
        expect({ fileName, sha256 }).toEqual({ fileName, sha256: digests.get(fileName) })
    } finally {
      await writers.stop()
      await watching.stop()
      rmSync(root, { recursive: true })
    }
  })
})
