import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { CustodyLog } from '../../../src/custody/custody-log.ts'
import { loadSigningKey } from '../../../src/custody/signing-key.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { mortalDisk } from './mortal-disk.ts'

// A program that records and does things until it kills itself at a given step on the disk:
// custody-writer.ts FOLDER ROUND STEP HOW, with HOW one of before, within, after.
const [root = '', round = '', stepText = '', how = ''] = process.argv.slice(2)

const log = new CustodyLog({
  folder: join(root, 'custody'),
  node: 'node-a',
  key: loadSigningKey(join(root, 'custody-key.pem')),
  clock: systemClock,
  logger: silentLogger,
  maxBytes: 1024 ** 3,
  segmentBytes: 4_000,
  headEveryMs: 5,
  disk: mortalDisk(Number(stepText), how),
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
