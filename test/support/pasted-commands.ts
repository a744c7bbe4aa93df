import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { agentProgram } from './agent-process.ts'

/** A directory in which commands are pasted as at a terminal. */
export interface Terminal {
  readonly folder: string
  /** Runs commands to their end and returns what they wrote. Throws when one of them fails, an answer of 400 or above included. */
  paste(commands: string): Promise<string>
  /** Runs commands that do not end by themselves, until they have written this, and ends them. */
  pasteUntil(commands: string, said: RegExp, meanwhile?: () => Promise<unknown>): Promise<string>
}

export interface TerminalOptions {
  readonly folder: string
  readonly env?: Readonly<Record<string, string>>
}

const ENDS_WITHIN_MS = 40_000

/** A terminal that has a command `checkpoint-agent` and the Node.js that runs this. */
export function openTerminal({ folder, env = {} }: TerminalOptions): Terminal {
  const programs = join(folder, '.programs')
  mkdirSync(programs)
  const program = join(programs, 'checkpoint-agent')
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${agentProgram()}' "$@"\n`)
  chmodSync(program, 0o755)
  // curl reads its settings from here: an answer that says no is a failure.
  writeFileSync(join(programs, '.curlrc'), 'fail\nmax-time = 30\n')
  const { PATH = '' } = process.env
  const whole = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name))),
    PATH: `${programs}:${dirname(process.execPath)}:${PATH}`,
    CURL_HOME: programs,
    ...env,
  }

  const begin = (commands: string) => {
    // A group of its own, so that whatever it has begun ends with it.
    const child = spawn('bash', ['-e', '-o', 'pipefail', '-c', commands], { cwd: folder, env: whole, detached: true })
    let [output, complaint] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk))
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (complaint += chunk))
    child.stdin.end()
    const end = (signal: NodeJS.Signals) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal)
      } catch {
        // It has ended by itself.
      }
    }
    const timer = setTimeout(() => end('SIGKILL'), ENDS_WITHIN_MS)
    const ended = once(child, 'close').finally(() => clearTimeout(timer))
    const failure = (what: string) => new Error(`Cannot paste "${commands}": ${what}\n${complaint}${output}`)
    return { child, ended, end, failure, output: () => output }
  }

  return {
    folder,
    async paste(commands) {
      const { child, ended, failure, output } = begin(commands)
      await ended
      if (child.exitCode !== 0) throw failure(`it ended with ${child.exitCode ?? child.signalCode}`)
      return output()
    },
    async pasteUntil(commands, said, meanwhile = () => Promise.resolve()) {
      const { child, ended, end, failure, output } = begin(commands)
      const heard = new Promise<void>((resolve) => {
        child.stdout.on('data', () => {
          if (said.test(output())) resolve()
        })
      })
      // Whoever wants to see something must be there when it happens.
      await once(child, 'spawn')
      await meanwhile()
      await Promise.race([heard, ended])
      end('SIGTERM')
      await ended
      if (!said.test(output())) throw failure(`it has not said ${said}`)
      return output()
    },
  }
}
