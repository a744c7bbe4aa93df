import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'

const VERSION = '1.6.0'
const MODULE = 'github.com/checkpoint-restore/checkpointctl'

export const CHECKPOINTCTL = `checkpointctl ${VERSION}`

/** Its program, from the cache or built from its Go module. Undefined, and said so, where that cannot be. */
export async function prepareCheckpointctl(): Promise<string | undefined> {
  const folder = join(cacheFolder(), `checkpointctl-${VERSION}`)
  const program = join(folder, 'checkpointctl')
  if (existsSync(program)) return program
  const building = `${folder}.building-${process.pid}`
  mkdirSync(building, { recursive: true })
  process.stderr.write(`building ${CHECKPOINTCTL} from its Go module, about 15 s (kept in ${folder})\n`)
  try {
    const failure = await installInto(building)
    if (failure !== undefined) {
      console.log(`bench against ${CHECKPOINTCTL}: not run: ${failure}`)
      return undefined
    }
    // Another run may have made it meanwhile.
    if (!existsSync(program)) renameSync(building, folder)
    return program
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
}

/** Runs it to its end, what it prints thrown away. */
export async function runCheckpointctl(program: string, ...args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const [exitCode] = (await once(child, 'exit')) as [number | null]
  if (exitCode !== 0) throw new Error(`${CHECKPOINTCTL} ${args.join(' ')} ended with ${exitCode ?? 'a signal'}`)
}

/** Why it cannot be built. */
async function installInto(folder: string): Promise<string | undefined> {
  const { GOOS: _os, GOARCH: _arch, ...environment } = process.env
  const env = { ...environment, CGO_ENABLED: '0', GOFLAGS: '-trimpath', GOBIN: folder }
  const child = spawn('go', ['install', `${MODULE}@v${VERSION}`], { env, stdio: ['ignore', 'inherit', 'inherit'] })
  return await new Promise((resolve) => {
    child.once('error', () => {
      resolve('the go command is not on the PATH')
    })
    child.once('exit', (exitCode) => {
      resolve(exitCode === 0 ? undefined : 'go could not build it, see above')
    })
  })
}

function cacheFolder(): string {
  const { CHECKPOINT_AGENT_CACHE: own, XDG_CACHE_HOME: caches = join(homedir(), '.cache') } = process.env
  return own ?? join(caches, 'checkpoint-agent')
}
