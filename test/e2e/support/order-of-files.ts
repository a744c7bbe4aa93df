import { basename } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Two files run at a time. The first of these only waits, for two minutes: beside it run the two that measure milliseconds
 * and memory. Then come those that take minutes: one that began as the last would go on alone when all others are done.
 */
const FIRST = [
  'sweep-disk',
  'load',
  'readers',
  'attacks',
  'crash',
  'sweep-crash',
  'freeze',
  'index-loss',
  'inventory-event-loop',
]

/** A fresh clone does not know yet how long a file takes, which is what vitest goes by. */
export class OrderOfFiles extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- the sequencer's own
    const sorted = await super.sort(files)
    return sorted.toSorted((a, b) => rankOf(a) - rankOf(b))
  }
}

function rankOf({ moduleId, project }: TestSpecification): number {
  const rank = project.name === 'e2e' ? FIRST.indexOf(basename(moduleId, '.test.ts')) : -1
  return rank === -1 ? FIRST.length : rank
}
