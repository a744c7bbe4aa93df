import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ArchiveFile } from '../../src/agent/inspection/archive-reader.ts'
import { ReaderProcesses, type ReaderProcessesOptions } from '../../src/agent/inspection/reader-processes.ts'
import { generationOf } from '../../src/checkpoint/generation.ts'
import { silentLogger } from '../../src/shared/logger.ts'

/** A checkpoint directory with a state directory beside it, and readers for it. */
export class ReaderDirectory implements AsyncDisposable {
  readonly root = realpathSync(mkdtempSync(join(tmpdir(), 'reader-')))
  readonly directory = join(this.root, 'checkpoints')
  readonly stateDirectory = join(this.root, 'state')
  readonly #open: ReaderProcesses[] = []

  constructor() {
    mkdirSync(this.directory)
    mkdirSync(this.stateDirectory)
  }

  write(name: string, bytes: Uint8Array): ArchiveFile {
    writeFileSync(join(this.directory, name), bytes)
    return this.file(name)
  }

  file(name: string): ArchiveFile {
    const stat = statSync(join(this.directory, name), { bigint: true })
    return { path: Buffer.from(name), generation: generationOf(stat), sizeBytes: Number(stat.size) }
  }

  readers(options: Partial<ReaderProcessesOptions> = {}): ReaderProcesses {
    const { directory, stateDirectory } = this
    const readers = new ReaderProcesses({ directory, stateDirectory, logger: silentLogger, ...options })
    this.#open.push(readers)
    return readers
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#open.map((readers) => readers.close()))
    rmSync(this.root, { recursive: true, force: true })
  }
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
