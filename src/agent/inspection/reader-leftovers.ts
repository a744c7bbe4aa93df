import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { errorText, isSystemError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import { readCommandLine, readTimes } from './process-figures.ts'

const FOLDER = 'readers'

/** A process that has this in its command line, and began when the note says, is one of ours. */
const PROGRAM = /\/reader-[a-z-]+\.[jt]s$/

/**
 * Which readers there are, on disk: one that spins does not notice that its agent was killed, and the next agent ends
 * it. In a container the kernel does, for they end with its first process.
 */
export class ReaderLeftovers {
  readonly #folder: string
  readonly #logger: Logger

  constructor(stateDirectory: string, logger: Logger) {
    this.#folder = join(stateDirectory, FOLDER)
    this.#logger = logger
  }

  note(pid: number, startTicks: string): void {
    try {
      mkdirSync(this.#folder, { mode: 0o700, recursive: true })
      writeFileSync(join(this.#folder, String(pid)), startTicks, { mode: 0o600 })
    } catch (error) {
      this.#logger.warn({ pid, error: errorText(error) }, 'Cannot note which process reads archives')
    }
  }

  forget(pid: number): void {
    rmSync(join(this.#folder, String(pid)), { force: true })
  }

  /** Ends what an agent before this one left behind. */
  end(): void {
    for (const name of this.#names()) {
      const pid = Number(name)
      if (/^[1-9]\d*$/.test(name) && this.#isOurs(pid)) {
        this.#logger.warn({ pid }, 'Ending a process that an earlier agent left reading')
        try {
          process.kill(pid, 'SIGKILL')
        } catch (error) {
          if (!isSystemError(error, 'ESRCH')) this.#logger.error({ pid, error: errorText(error) }, 'Cannot end it')
        }
      }
      rmSync(join(this.#folder, name), { force: true, recursive: true })
    }
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.#folder)
    } catch {
      return []
    }
  }

  #isOurs(pid: number): boolean {
    let startTicks: string
    try {
      startTicks = readFileSync(join(this.#folder, String(pid)), 'utf8')
    } catch {
      return false
    }
    const isProgram = readCommandLine(pid)?.some((argument) => PROGRAM.test(argument)) === true
    return isProgram && readTimes(pid)?.startTicks === startTicks
  }
}
