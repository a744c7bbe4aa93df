import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { agentProgram, startAgentProcess } from './support/agent-process.ts'

/** An agent that spins, as one did on a directory in /proc, is killed and fails the test by that. */
const ENDS_WITHIN_MS = 30_000

/** Tries each place on its read-only directory, and prints what was said as JSON. */
const PROBE = join(import.meta.dirname, 'support/read-only-places.ts')
const READ_ONLY = 'the file system is read-only (EROFS)'

let folder: string

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'start-failures-')))
  for (const name of ['checkpoints', 'state', 'run']) mkdirSync(join(folder, name), { mode: 0o700 })
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

interface Case {
  readonly what: string
  /** Flags beside those that would be right. */
  readonly flags: readonly string[]
  readonly code: string
  readonly message: RegExp
  readonly hint: RegExp
}

const CASES: readonly Case[] = [
  {
    what: 'a checkpoint directory in /proc',
    flags: ['--checkpoints.directory=/proc/foo/bar'],
    code: 'LocationNotWritable',
    message: /^Cannot make the checkpoint directory "\/proc\/foo\/bar": nobody can make directories in that place/,
    hint: /checkpoints\.directory/,
  },
  {
    what: 'a state directory below a file',
    flags: ['--state.directory=/dev/null/state'],
    code: 'StateUnavailable',
    message: /^Cannot make folder "\/dev\/null\/state": a part of the path is not a directory \(ENOTDIR\)$/,
    hint: /state\.directory/,
  },
  {
    what: 'a unix socket in /sys',
    flags: ['--server.socket=/sys/x'],
    code: 'SocketUnavailable',
    message: /^Cannot listen on "\/sys\/x": /,
    hint: /server\.socket/,
  },
]

describe('an agent that cannot start', () => {
  it.each(CASES)('says the code, the cause and the next step in its log: $what', async (each) => {
    expect(fatalEntry(await run(agent(...rightFlags(each.flags))))).toEqual(likeFatal(each))
  })

  it('names every mistake in its configuration', async () => {
    const { stdout, stderr, exitCode } = await run(agent('--log.level=loud', '--no.such=1'))
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 2 })
    expect(JSON.parse(stdout)).toMatchObject({
      level: 'fatal',
      code: 'InvalidConfiguration',
      hint: expect.stringContaining('--check-config') as string,
      msg: 'Cannot use the configuration: 2 mistakes',
      mistakes: [expect.stringContaining('--no.such'), expect.stringContaining('log.level')],
    })
  })

  const noMounts = whyNoMounts()
  if (noMounts !== undefined) console.log(`read-only file systems are not tried: ${noMounts}`)

  it.skipIf(noMounts !== undefined)('says that a file system is read-only', async () => {
    const readOnly = join(folder, 'read-only')
    mkdirSync(readOnly, { mode: 0o700 })
    const mount = `mount -t tmpfs -o ro,mode=0700 none ${readOnly} && exec "$@"`
    const { stdout } = await run(['unshare', '--mount', 'sh', '-c', mount, 'sh', process.execPath, PROBE, readOnly])
    expect(JSON.parse(stdout)).toEqual({
      'a checkpoint directory to be made': `Cannot make the checkpoint directory "${readOnly}/a/b": ${READ_ONLY}`,
      'a checkpoint directory': `Cannot make the staging folder "${readOnly}/.checkpoint-agent": ${READ_ONLY}`,
      'a state directory to be made': `Cannot make folder "${readOnly}/a/b": ${READ_ONLY}`,
      'a state directory': `Cannot lock the state directory with "${readOnly}/lock": ${READ_ONLY}`,
      'a unix socket': `Cannot listen on "${readOnly}/agent.sock": ${READ_ONLY}`,
    })
  })

  it('ends with such a line when a bug ends it later', async () => {
    const bug = 'setTimeout(() => { throw new TypeError("a bug") }, 1500)'
    const [node = '', ...rest] = agent(...rightFlags([]))
    const outcome = await run([node, '--import', `data:text/javascript,${encodeURIComponent(bug)}`, ...rest])
    expect(fatalEntry(outcome)).toMatchObject({
      level: 'fatal',
      code: 'InternalError',
      err: { type: 'TypeError', message: 'a bug', stack: expect.stringContaining('TypeError: a bug') as string },
    })
  })

  it('answers at a terminal in text', async () => {
    const command = [process.execPath, agentProgram(), '--log.level=loud'].map((word) => `'${word}'`).join(' ')
    const { stdout, exitCode } = await run(['script', '-qec', command, '/dev/null'])
    expect(stdout).toMatch(
      /^checkpoint-agent: Cannot use the configuration: 1 mistake \(InvalidConfiguration\)\r?\n {2}log\.level: .*\r?\n {2}Correct it/,
    )
    expect(exitCode).toBe(2)
  })

  it('answers --check-config and verify-custody in text', async () => {
    for (const words of [['--check-config', '--log.level=loud'], ['verify-custody']]) {
      const { stdout, stderr, exitCode } = await run(agent(...words))
      expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 2 })
      expect(stderr).toMatch(/^checkpoint-agent: Cannot .*\((?:InvalidConfiguration|InvalidArguments)\)\n/)
    }
  })
})

describe('two agents with one state directory', () => {
  it('do not run beside each other; the second says which settings to give', async () => {
    const state = join(folder, 'state')
    const start = (name: string) =>
      startAgentProcess({
        folder: join(folder, name),
        settings: {
          'state.directory': state,
          'checkpoints.directory': join(folder, `checkpoints-${name}`),
          'runtime.socket': join(folder, 'none.sock'),
        },
      })
    const first = await start('first')
    const second = await run(agent(...rightFlags([])))
    expect(fatalEntry(second)).toEqual(
      likeFatal({
        code: 'DirectoryLocked',
        message: /^Cannot use the state directory: another checkpoint-agent holds ".*\/state\/lock"$/,
        hint: /checkpoints\.directory and state\.directory/,
      }),
    )
    expect((await first.request('GET', '/healthz')).status).toBe(200)

    // The kernel drops the lock with the process, however it ends.
    await first.kill9()
    const heir = await start('second')
    expect(await heir.sigterm()).toBe(0)
  })
})

interface Outcome {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | null
}

function rightFlags(flags: readonly string[]): readonly string[] {
  return [
    `--checkpoints.directory=${folder}/checkpoints`,
    `--state.directory=${folder}/state`,
    `--server.socket=${folder}/run/agent.sock`,
    `--runtime.socket=${folder}/none.sock`,
    '--server.address=127.0.0.1:0',
    ...flags,
  ]
}

function agent(...flags: readonly string[]): readonly string[] {
  return [process.execPath, agentProgram(), ...flags]
}

async function run([program = '', ...args]: readonly string[]): Promise<Outcome> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: ENDS_WITHIN_MS,
    killSignal: 'SIGKILL',
  })
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { stdout, stderr, exitCode: child.exitCode }
}

/** The last line of the log; nothing else was said, and every line is JSON. */
function fatalEntry({ stdout, stderr, exitCode }: Outcome): unknown {
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 1 })
  const entries = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as object)
  return entries.at(-1)
}

/** Without a stack: it is no bug. */
function likeFatal({ code, message, hint }: Omit<Case, 'what' | 'flags'>): object {
  return {
    level: 'fatal',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as string,
    node: expect.any(String) as string,
    code,
    msg: expect.stringMatching(message) as string,
    hint: expect.stringMatching(hint) as string,
  }
}

function whyNoMounts(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can mount one'
  const { status, stderr, error } = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt'], {
    encoding: 'utf8',
  })
  return status === 0 ? undefined : (error?.message ?? stderr)
}
