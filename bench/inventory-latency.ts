import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkpointId } from '../src/checkpoint/checkpoint-id.ts'
import { archiveName, fillArchiveFolder } from './archive-folder.ts'
import { announceRunTime, quantile, reportBounded } from './bounds.ts'
import { median } from './paired.ts'
import { startAgent, type RunningAgent } from './running-agent.ts'

// From the rename of an archive into the directory until the API knows it, in any state.

const RENAMES = 240
/** Between two of them, one after the other: just after the last look at the directory, in the middle of one, long after. */
const PAUSES_MS = [0, 7, 20, 40]
const PATIENCE_MS = 10_000

announceRunTime('inventory-latency')
const folder = mkdtempSync(join(tmpdir(), 'checkpoint-bench-'))
const elsewhere = join(folder, 'elsewhere')
try {
  mkdirSync(elsewhere)
  fillArchiveFolder(elsewhere, RENAMES)
  const agent = await startAgent(folder)
  try {
    const times: number[] = []
    for (let index = 0; index < RENAMES; index += 1) {
      await sleep(PAUSES_MS[index % PAUSES_MS.length] ?? 0)
      times.push(await measureRename(agent, archiveName(index)))
    }
    reportBounded({
      name: 'inventory-latency, rename to row',
      value: quantile(times, 0.95),
      bound: 250,
      unit: ' ms',
      note: `p95 of ${RENAMES}, p50 ${median(times).toFixed(1)} ms, longest ${quantile(times, 1).toFixed(1)} ms`,
    })
  } finally {
    await agent.sigterm()
  }
} finally {
  rmSync(folder, { recursive: true })
}

async function measureRename(agent: RunningAgent, name: string): Promise<number> {
  const begun = performance.now()
  renameSync(join(elsewhere, name), join(agent.directory, name))
  const path = `/v1/checkpoints/${checkpointId(name)}`
  for (;;) {
    const { status } = await agent.get(path)
    const millis = performance.now() - begun
    if (status === 200) return millis
    if (millis > PATIENCE_MS) throw new Error(`"${name}" is not known after ${PATIENCE_MS / 1000} s`)
    await sleep(2)
  }
}
