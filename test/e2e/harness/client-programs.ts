import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { runCommand } from './node-command.ts'

/** Real clients, and the Debian packages that have them. */
const PACKAGES = { age: 'age', aria2c: 'aria2', curl: 'curl', openssl: 'openssl', wget: 'wget', zstd: 'zstd' } as const

export type ClientProgram = keyof typeof PACKAGES

/** Installs what is missing with apt-get, as root; throws where that fails: a test that needs a client is not left out. */
export async function installPrograms(...programs: readonly ClientProgram[]): Promise<void> {
  const missing = programs.filter((program) => !isInstalled(program))
  if (missing.length === 0) return
  console.error(`installing ${missing.join(', ')} with apt-get`)
  const packages = missing.map((program) => PACKAGES[program])
  await aptGet('update', '-qq')
  await aptGet('install', '-y', '-qq', '--no-install-recommends', ...packages)
  const absent = missing.filter((program) => !isInstalled(program))
  if (absent.length > 0) throw new Error(`Cannot find ${absent.join(', ')}: ${packages.join(', ')} did not bring it`)
}

/** Waits for another one that installs something. */
async function aptGet(...args: readonly string[]): Promise<void> {
  const command = [
    'DEBIAN_FRONTEND=noninteractive',
    'flock',
    '--close',
    '/var/lib/dpkg',
    'apt-get',
    '-o',
    'DPkg::Lock::Timeout=300',
    ...args,
  ]
  const { exitCode, stderr } = await runCommand('env', command, { timeoutMs: 600_000 })
  if (exitCode !== 0) throw new Error(`Cannot run "apt-get ${args.join(' ')}": ${stderr.trim()}`)
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
