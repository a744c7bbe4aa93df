import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

export interface CommandResult {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

export interface RunOptions {
  readonly input?: string
  /** The command gets SIGKILL after this time; two minutes when absent. */
  readonly timeoutMs?: number
}

/** Rejects only when the program cannot be started or takes too long. */
export async function runCommand(
  program: string,
  args: readonly string[],
  { input = '', timeoutMs = 120_000 }: RunOptions = {},
): Promise<CommandResult> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' })
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      if (code === null) reject(new Error(`Cannot run "${args.join(' ')}": it was ended by ${String(signal)}`))
      else resolve(code)
    })
  })
  // a command that does not read its input closes it early
  child.stdin.on('error', () => undefined)
  child.stdin.end(input)
  const [exitCode, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)])
  return { stdout, stderr, exitCode }
}
