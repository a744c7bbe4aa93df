import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ReaderProcesses } from '../src/agent/inspection/reader-processes.ts'
import { lookAtArchive } from '../src/agent/inventory/single-look.ts'
import { silentLogger } from '../src/shared/logger.ts'
import { announceRunTime } from './bounds.ts'
import { writeLargeArchive } from './large-archive.ts'
import { comparePaired, timed } from './paired.ts'
import { CHECKPOINTCTL, prepareCheckpointctl, runCheckpointctl } from './peer-checkpointctl.ts'

// What an archive says of itself, read in the reader's process, which runs, as the agent has it read. The memory in it is a hole, which
// is read faster than a disk or even the page cache: in favour of the peer, which reads all of it.

const MIB = 1024 ** 2
const LARGE_BYTES = 2048 * MIB
const SMALL_BYTES = 2 * MIB
/** Reads before the clock runs, so that the code is compiled, as it is in an agent. */
const WARM_UP = 500

announceRunTime('archive-reader')
const folder = mkdtempSync(join(tmpdir(), 'checkpoint-bench-'))
const reader = new ReaderProcesses({ directory: folder, stateDirectory: folder, logger: silentLogger })
try {
  writeLargeArchive(join(folder, 'large.tar'), LARGE_BYTES)
  writeLargeArchive(join(folder, 'small.tar'), SMALL_BYTES)
  for (let round = 0; round < WARM_UP; round += 1) {
    await look('large.tar')
    await look('small.tar')
  }
  await comparePaired({
    name: 'archive-reader, 2 GiB : 2 MiB',
    peerName: '2 MiB with the same members',
    pairs: 500,
    bound: 2,
    ours: () => timed(() => look('large.tar')),
    peer: () => timed(() => look('small.tar')),
  })
  const program = await prepareCheckpointctl()
  if (program !== undefined) {
    await comparePaired({
      name: 'archive-reader, 2 GiB',
      peerName: `${CHECKPOINTCTL} show`,
      pairs: 5,
      bound: 1 / 50,
      ours: () => timed(() => look('large.tar')),
      peer: () => timed(() => runCheckpointctl(program, 'show', join(folder, 'large.tar'))),
    })
  }
} finally {
  await reader.close()
  rmSync(folder, { recursive: true })
}

async function look(name: string): Promise<void> {
  const found = await lookAtArchive(Buffer.from(name), {
    directory: folder,
    permissions: 'enforce',
    reader,
    now: new Date(),
  })
  if (found?.end !== 'whole') throw new Error(`Cannot read "${name}": ${JSON.stringify(found?.checkpoint.problems)}`)
}
