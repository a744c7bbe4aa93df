import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'

export interface DemoStart {
  /** The variable DEMO; unset when absent. */
  readonly demo?: string
  readonly env?: Readonly<Record<string, string>>
  /** Somebody else than who runs the test. */
  readonly uid?: number
}

/** A demo as its user has it: a process, what it writes, and the lines it prints for pasting. */
export interface RunningDemo {
  readonly process: ChildProcess
  /** All that it has written so far, both streams. */
  readonly output: () => string
  /** The lines to paste, in order. */
  readonly commands: () => readonly string[]
  /** What it says under `Running`, for example `log`. */
  readonly running: (what: string) => string
  readonly port: () => number
  readonly folder: () => string
  untilOutput(text: string): Promise<void>
  /** Resolves with the exit code, or the signal. */
  readonly ended: Promise<number | NodeJS.Signals>
}

const DEMO = join(import.meta.dirname, '../../tools/demo/demo.ts')
const READY = 'Ctrl-C ends the demo'

/** Begins a demo, with its standard input closed and in a folder that has nothing to do with it. */
export function beginDemo({ demo, env = {}, uid }: DemoStart = {}): RunningDemo {
  const { DEMO: _, ...inherited } = process.env
  const child = spawn(process.execPath, [DEMO], {
    cwd: '/',
    env: { ...inherited, ...(demo !== undefined && { DEMO: demo }), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid !== undefined && { uid, gid: uid }),
  })
  let output = ''
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      for (const look of waiting) look()
    })
  }
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals)
  const running = (what: string) => {
    const value = new RegExp(`^ {2}${what} +(.+)$`, 'm').exec(output)?.[1]
    if (value === undefined) throw new Error(`Cannot find "${what}" in what the demo says:\n${output}`)
    return value
  }
  return {
    process: child,
    output: () => output,
    commands: () => output.split('\n').flatMap((line) => /^ {2}((?:sudo )?(?:curl|tar) .+)$/.exec(line)?.[1] ?? []),
    running,
    port: () => Number(/:(\d+) and /.exec(running('agent'))?.[1]),
    folder: () => join(running('log'), '..'),
    async untilOutput(text) {
      const said = new Promise<void>((resolve) => {
        const look = () => {
          if (output.includes(text)) resolve()
        }
        waiting.add(look)
        look()
      })
      await Promise.race([said, ended])
      if (!output.includes(text)) throw new Error(`Cannot see "${text}": the demo has ended:\n${output}`)
    },
    ended,
  }
}

/** Returns when it has printed everything that it prints by itself. */
export async function startDemo(start?: DemoStart): Promise<RunningDemo> {
  const demo = beginDemo(start)
  await demo.untilOutput(READY)
  return demo
}

/** Exactly as pasted into another terminal. Throws with what it wrote when it fails. */
export function paste(command: string, uid?: number): string {
  return execFileSync('sh', ['-c', command], {
    cwd: '/',
    encoding: 'utf8',
    ...(uid !== undefined && { uid, gid: uid }),
  })
}

export function hasProgram(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
}

/** Agents that name this directory in their command line, without the processes that read archives for them. Linux only. */
export function agentsNaming(folder: string): readonly number[] {
  return processesNaming(folder, (commandLine) => !commandLine.includes('\0--permission\0'))
}

/** Processes that name this directory in their command line: the agent and whatever helps it. Linux only. */
export function processesNaming(
  folder: string,
  isMeant: (commandLine: string) => boolean = () => true,
): readonly number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return commandLine.includes(folder) && isMeant(commandLine)
      } catch {
        return false // it has ended
      }
    })
    .map(Number)
}

export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => {
      resolve(false)
    })
  })
}
