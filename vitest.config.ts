import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { OrderOfFiles } from './test/e2e/support/order-of-files.ts'

/** A test that waits for something to happen fails because it does not happen, and not because the machine is busy. */
const PATIENT = { timeout: 10_000 }

// unit: no root, no runtime, under two minutes. e2e and cluster: root and the real thing, minutes.
export default defineConfig({
  test: {
    // Many tests wait for timers and processes: more of them at once than there are cores.
    maxWorkers: Math.max(4, availableParallelism()),
    sequence: { sequencer: OrderOfFiles },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/cluster/**'],
          testTimeout: 60_000,
          expect: { poll: PATIENT },
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          // Each file has nodes and folders of its own, and waits for half of its time.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 180_000,
          expect: { poll: PATIENT },
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 180_000,
          expect: { poll: PATIENT },
          hookTimeout: 1_800_000,
        },
      },
    ],
  },
})
