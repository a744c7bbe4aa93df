import { nodeDisk, type CustodyDisk, type CustodyFile } from '../../../src/custody/custody-disk.ts'

/**
 * A disk on which the process kills itself at a given step: before it, after it, or with a part of it done. `how` is one
 * of `before`, `within`, `after`.
 */
export function mortalDisk(steps: number, how: string): CustodyDisk {
  let stepsLeft = steps

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

  return {
    ...nodeDisk,
    makeFolder: (path) => step(() => nodeDisk.makeFolder(path)),
    create: async (path) => mortalFile(await step(() => nodeDisk.create(path))),
    open: async (path) => mortalFile(await nodeDisk.open(path)),
    rename: (from, to) => step(() => nodeDisk.rename(from, to)),
    syncFolder: (folder) => step(() => nodeDisk.syncFolder(folder)),
  }
}

function die(): never {
  process.kill(process.pid, 'SIGKILL')
  throw new Error('still alive')
}
