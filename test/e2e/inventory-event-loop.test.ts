import { lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { generationOf } from '../../src/checkpoint/generation.ts'
import { openInventory, type OpenInventory } from '../support/inventory-oracle.ts'
import { sampleCheckpoint } from '../support/sample-checkpoints.ts'

// Who asks for a list while the directory is read through waits for no more than one step of that.

const ARCHIVES = 100_000
const BOUND_MS = 50
/** The garbage collector marks the rows of a hundred thousand archives in one go now and then; a slow machine takes its time. */
const BOUND_WITH_COLLECTOR_MS = 1_000

let root: string
let directory: string
let inventory: OpenInventory

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'inventory-event-loop-'))
  directory = join(root, 'checkpoints')
  mkdirSync(directory, { mode: 0o700 })
})

afterEach(async () => {
  await inventory.stop()
  rmSync(root, { recursive: true })
})

/** With a row for each archive. */
function openFilled(row: (index: number) => Checkpoint): void {
  inventory = openInventory(directory, { isStarted: false })
  for (let first = 0; first < ARCHIVES; first += 1000) {
    inventory.store.saveAll(Array.from({ length: 1000 }, (_, offset) => row(first + offset)))
  }
}

/** The row is as the file is, so that a rescan has nothing to do but to compare. */
function makeArchive(index: number): Checkpoint {
  const path = join(directory, sampleCheckpoint(index).fileName)
  writeFileSync(path, '', { mode: 0o600 })
  return sampleCheckpoint(index, { generation: generationOf(lstatSync(path, { bigint: true })) })
}

/** Processor time of each turn of the event loop, the longest first: what others did to the machine is not in it. */
async function turnsDuring(work: () => Promise<void>): Promise<number[]> {
  const turns: number[] = []
  let isOver = false
  let last = process.threadCpuUsage()
  const turn = () => {
    const { user, system } = process.threadCpuUsage(last)
    turns.push((user + system) / 1000)
    last = process.threadCpuUsage()
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  await work()
  isOver = true
  return turns.toSorted((a, b) => b - a)
}

function expectShort(what: string, turns: readonly number[]): void {
  const [longest = 0] = turns
  const usual = turns[Math.ceil(turns.length / 200)] ?? 0
  console.log(`${what}: ${turns.length} turns, all but 1 of 200 below ${usual} ms, the longest ${longest} ms`)
  expect(turns.length).toBeGreaterThan(200)
  expect(usual).toBeLessThan(BOUND_MS)
  expect(longest).toBeLessThan(BOUND_WITH_COLLECTOR_MS)
}

describe(`a directory of ${ARCHIVES} archives`, () => {
  it('is compared with the index in short steps', async () => {
    openFilled(makeArchive)
    expectShort('rescan', await turnsDuring(() => inventory.inventory.rescan()))
    expect(inventory.store.countByState()).toEqual({ ready: ARCHIVES })
  })

  it('is forgotten in short steps when it was emptied', async () => {
    openFilled((index) => sampleCheckpoint(index))
    expectShort('removal', await turnsDuring(() => inventory.inventory.rescan()))
    expect(inventory.store.countByState()).toEqual({})
  })
})
