import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { errorText, isSystemError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import { readCommandLine, readTimes } from './process-figures.ts'

const FOLDER = 'readers'

/**
 * Matches the command line of a reader. A process with this program and the recorded start time is a reader of an
 * agent.
 */
const PROGRAM = /\/reader-[a-z-]+\.[jt]s$/

/**
 * Records reader processes on disk. A busy reader does not notice that its agent was killed, so the next agent ends it.
 * In a container the kernel does this, since all processes end with the first one.
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

  /** Ends the readers that an earlier agent left running. */
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
