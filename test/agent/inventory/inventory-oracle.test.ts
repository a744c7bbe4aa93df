import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { startWriters } from '../../support/concurrent-writers.ts'
import { archivesOpenToOthers, openInventory, quiet } from '../../support/inventory-oracle.ts'

// The small sister of test/e2e/inventory-oracle.test.ts, which also looks at the digests and at how it came about.

const DEEDS = 1_000
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32))

it(
  `a directory in which others do ${DEEDS} things at random is known as it is (SEED=${seed})`,
  { timeout: 120_000 },
  async () => {
    const root = mkdtempSync(join(tmpdir(), 'inventory-oracle-'))
    const [directory, outside] = [join(root, 'checkpoints'), join(root, 'outside')]
    for (const folder of [directory, outside]) mkdirSync(folder, { mode: 0o700 })
    const writers = startWriters({ directory, outside, seed, most: 100 })
    const watching = openInventory(directory)
    try {
      for (let done = 0; done < DEEDS; done += 20) await writers.act(20)
      await quiet(watching)
      expect(archivesOpenToOthers(directory)).toEqual([])
      const fresh = openInventory(directory)
      await fresh.inventory.rescan()
      await quiet(fresh)
      const rows = fresh.rows()
      await fresh.stop()
      expect(watching.rows().length).toBeGreaterThan(10)
      expect(watching.rows()).toEqual(rows)
    } finally {
      await Promise.all([writers.stop(), watching.stop()])
      rmSync(root, { recursive: true })
    }
  },
)
