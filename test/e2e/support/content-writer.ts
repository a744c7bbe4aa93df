import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ContentCustody } from '../../../src/agent/custody/content-custody.ts'
import { Custody } from '../../../src/agent/custody/custody.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { checkpoint } from '../../http/http-services.ts'
import { mortalDisk } from './mortal-disk.ts'

// A program that hands out content until it kills itself at a given step on the disk, and notes in the file `left` what
// may have left, before it leaves: content-writer.ts FOLDER ROUND STEP HOW.
const [root = '', round = '', stepText = '', how = ''] = process.argv.slice(2)
const SIZE_BYTES = 64 * 1024 ** 3

const custody = new Custody({
  stateDirectory: root,
  node: 'node-a',
  agentVersion: '0',
  maxBytes: 1024 ** 3,
  clock: systemClock,
  logger: silentLogger,
  disk: mortalDisk(Number(stepText), how),
})
const content = new ContentCustody({ custody, node: 'node-a', logger: silentLogger, idleMs: 3 })
// As in the agent, requests come in while it starts.
const started = custody.start()

async function read(worker: number): Promise<void> {
  const id = `${round}-${worker}`
  const archive = { ...checkpoint(), id, sizeBytes: SIZE_BYTES }
  for (let number = 0; number < 200; number += 1) {
    const first = Math.floor(Math.random() * SIZE_BYTES)
    const end = Math.min(SIZE_BYTES, first + 1 + Math.floor(Math.random() * 1024 ** 2))
    const isMember = number % 10 === 9
    const intent = {
      actor: { user: `user-${worker}`, groups: [] },
      checkpoint: archive,
      recipients: [],
      ...(isMember
        ? ({ what: 'member', member: 'spec.dump', range: { first: 0, end: 10, sizeBytes: 10 } } as const)
        : ({ what: 'archive', range: { first, end, sizeBytes: SIZE_BYTES } } as const)),
    }
    await content.begin(intent)
    const left = isMember ? { id, member: 'spec.dump' } : { id, first, end }
    appendFileSync(join(root, 'left'), `${JSON.stringify(left)}\n`)
    await content.end({ intent, result: 'sent', sentBytes: isMember ? 10 : end - first })
    if (number % 7 === 6) await sleep(5)
  }
}

await Promise.all([started, read(0), read(1), read(2)])
await content.close()
await custody.stop()
