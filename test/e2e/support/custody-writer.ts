import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { nodeDisk, type CustodyDisk, type CustodyFile } from '../../../src/custody/custody-disk.ts'
import { CustodyLog } from '../../../src/custody/custody-log.ts'
import { loadSigningKey } from '../../../src/custody/signing-key.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'

// A program that records and does things until it kills itself at a given step on the disk:
// custody-writer.ts FOLDER ROUND STEP HOW, with HOW one of before, within, after.
const [root = '', round = '', stepText = '', how = ''] = process.argv.slice(2)
let stepsLeft = Number(stepText)

function die(): never {
  process.kill(process.pid, 'SIGKILL')
  throw new Error('still alive')
}

/** Counts a step of the disk; at the last one the process ends before it, after it, or with a part of it done. */
async function step<Result>(work: () => Promise<Result>, part?: () => Promise<unknown>): Promise<Result> {
  stepsLeft -= 1
  if (stepsLeft !== 0) return work()
  if (how === 'within' && part !== undefined) await part()
  else if (how !== 'before') await work()
  return die()
}

function mortalFile(file: CustodyFile): CustodyFile {
  return {
    write: (bytes, position) =>
      step(
        () => file.write(bytes, position),
        () => file.write(bytes.subarray(0, Math.floor(Math.random() * bytes.length)), position),
      ),
    truncate: (sizeBytes) => step(() => file.truncate(sizeBytes)),
    sync: () => step(() => file.sync()),
    close: () => step(() => file.close()),
  }
}

const disk: CustodyDisk = {
  ...nodeDisk,
  makeFolder: (path) => step(() => nodeDisk.makeFolder(path)),
  create: async (path) => mortalFile(await step(() => nodeDisk.create(path))),
  open: async (path) => mortalFile(await nodeDisk.open(path)),
  rename: (from, to) => step(() => nodeDisk.rename(from, to)),
  syncFolder: (folder) => step(() => nodeDisk.syncFolder(folder)),
}

const log = new CustodyLog({
  folder: join(root, 'custody'),
  node: 'node-a',
  key: loadSigningKey(join(root, 'custody-key.pem')),
  clock: systemClock,
  logger: silentLogger,
  maxBytes: 1024 ** 3,
  segmentBytes: 4_000,
  headEveryMs: 5,
  disk,
})
await log.start()

async function act(worker: number): Promise<void> {
  for (let number = 0; number < 200; number += 1) {
    const deed = `${round}-${worker}-${number}`
    const actor = { user: 'worker', groups: [] }
    await log.append({ actor, action: 'delete', detail: { deed }, outcome: 'intended' })
    appendFileSync(join(root, 'deeds'), `${deed}\n`)
    await log.append({ actor, action: 'delete', detail: { deed }, outcome: 'done' })
  }
}

await Promise.all([act(0), act(1), act(2)])
await log.close()
