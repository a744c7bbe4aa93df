import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Custody, custodyCheckpoint, type CustodyOptions } from '../../../src/agent/custody/custody.ts'
import { AGENT_ACTOR, type CustodyDraft } from '../../../src/custody/custody-entry.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { sampleCheckpoint } from '../../support/sample-checkpoints.ts'

const ARCHIVE = sampleCheckpoint(1, { state: 'ready', sha256: 'a'.repeat(64) })

let folder: string
let custody: Custody
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'leaving-'))
  mkdirSync(join(folder, 'state'), { mode: 0o700 })
  custody = await start()
})
afterEach(async () => {
  await custody.stop()
  rmSync(folder, { recursive: true })
})

function options(): CustodyOptions {
  return {
    stateDirectory: join(folder, 'state'),
    node: 'node-a',
    agentVersion: '0',
    maxBytes: 1024 ** 3,
    clock: systemClock,
    logger: silentLogger,
  }
}

async function start(): Promise<Custody> {
  const started = new Custody(options())
  await started.start()
  return started
}

function prune(outcome: CustodyDraft['outcome']): CustodyDraft {
  const about = { actor: AGENT_ACTOR, action: 'prune', checkpoint: custodyCheckpoint(ARCHIVE), outcome } as const
  return outcome === 'intended' ? { ...about, detail: { generation: ARCHIVE.generation } } : about
}

async function actions(): Promise<string[]> {
  const { entries } = await custody.page({ after: 0, limit: 1000, checkpointId: ARCHIVE.id })
  return entries.map(({ action, outcome }) => `${action} ${outcome}`)
}

describe('what the inventory tells late', () => {
  it('is not written of a file that is about to go, or has gone', async () => {
    await custody.recordRemovals([prune('intended')])
    await custody.discovered(ARCHIVE)
    await custody.note(prune('done'))
    await custody.looked(ARCHIVE)
    expect(await actions()).toEqual(['prune intended', 'prune done'])
  })

  it('does not make the next start miss an archive that was pruned', async () => {
    await custody.recordRemovals([prune('intended')])
    await custody.note(prune('done'))
    await custody.looked(ARCHIVE)
    await custody.stop()
    custody = await start()
    await custody.missing(() => false)
    expect(await actions()).toEqual(['prune intended', 'prune done'])
  })

  it('is written of a file that stayed after all', async () => {
    await custody.recordRemovals([prune('intended')])
    await custody.note(prune('failed'))
    await custody.looked(ARCHIVE)
    expect(await actions()).toEqual(['prune intended', 'prune failed', 'discovery done', 'digest done'])
  })

  it('is written of another file that has taken its name', async () => {
    await custody.recordRemovals([prune('intended')])
    await custody.note(prune('done'))
    await custody.looked({ ...ARCHIVE, generation: '7:8:9' })
    expect(await actions()).toEqual(['prune intended', 'prune done', 'discovery done', 'digest done'])
  })
})

describe('a removal that is asked for while the log is still being read', () => {
  it('is not taken for one by somebody else', async () => {
    await custody.discovered(ARCHIVE)
    const others = Array.from({ length: 5_000 }, () => ({ ...prune('failed'), checkpoint: { id: 'f', fileName: 'f' } }))
    await custody.noteAll(others)
    await custody.stop()
    const starting = new Custody(options())
    custody = starting
    const progress = { isOver: false }
    const over = starting.start().then(() => (progress.isOver = true))
    await starting.recordRemovals([prune('intended')])
    do {
      await starting.gone(ARCHIVE.id)
      await nextTurn()
    } while (!progress.isOver)
    await over
    await starting.note(prune('done'))
    expect(await actions()).toEqual(['discovery done', 'prune intended', 'prune done'])
  })
})

describe('a removal that was announced and not told the end of', () => {
  it('is known to the next start, and to it alone', async () => {
    await custody.recordRemovals([prune('intended')])
    expect(custody.interruptedRemovals).toEqual([])
    await custody.stop()
    custody = await start()
    expect(custody.interruptedRemovals).toMatchObject([{ action: 'prune', generation: ARCHIVE.generation }])
    await custody.note(prune('done'))
    await custody.stop()
    custody = await start()
    expect(custody.interruptedRemovals).toEqual([])
  })
})
