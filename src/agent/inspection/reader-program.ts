import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

/** Command that starts the reader process: program, arguments and environment. */
export interface ReaderProgram {
  readonly file: string
  readonly arguments: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

const SOURCES = join(dirname(fileURLToPath(import.meta.url)), '../..')
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js'

/**
 * Flags that allow only reads of the directory and of the program's own code: no writes, network, sockets, processes,
 * threads or add-ons. `reader-lockdown.ts` closes the remaining gaps of the permission model.
 */
const FLAGS = [
  '--permission',
  '--no-experimental-sqlite',
  '--no-experimental-webstorage',
  '--no-experimental-websocket',
  '--no-experimental-ffi',
  '--no-addons',
  '--no-global-search-paths',
  // Without this flag, links to node_modules or to a package in it would need read access to the path of their target.
  '--preserve-symlinks',
  '--disable-sigusr1',
  '--disable-proto=delete',
  '--no-warnings',
]

/**
 * Heap limits for the largest archive: half a million processes and 200,000 names. Memory outside the heap is watched
 * by the agent.
 */
const MEMORY_FLAGS = [
  '--max-old-space-size=96',
  '--max-semi-space-size=2',
  '--optimize-for-size',
  '--expose-gc',
  '--v8-pool-size=1',
  '--stack-size=700',
]

/**
 * Environment that makes glibc return freed memory to the node. The pool has one thread that waits for requests and one
 * that decompresses.
 */
const ENVIRONMENT = {
  UV_THREADPOOL_SIZE: '2',
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '16384',
  MALLOC_TRIM_THRESHOLD_: '16384',
}

export interface ReaderProgramOptions {
  /** Real path of the checkpoint directory, because a link is allowed only under its own name. */
  readonly directory: string
  /** Entry that replaces `reader-process` in tests, to run their own code. */
  readonly entry?: string
}

export function readerProgram({ directory, entry }: ReaderProgramOptions): ReaderProgram {
  const program = realpathSync(entry ?? join(SOURCES, `agent/inspection/reader-process.${EXTENSION}`))
  const code = [realpathSync(SOURCES), packageFile(SOURCES), tarPackage(), dirname(program)]
  const allowed = [directory, ...code].map((path) => `--allow-fs-read=${path}`)
  return {
    file: process.execPath,
    arguments: [...FLAGS, ...MEMORY_FLAGS, ...allowed, program, directory],
    environment: ENVIRONMENT,
  }
}

/** Returns the path of package.json, which Node.js reads to find out whether the files are modules. */
function packageFile(directory: string): string {
  return realpathSync(join(directory, '../package.json'))
}

/**
 * Returns the path of the only package that the parsers use, as Node.js finds it. A link is allowed only under its own
 * name.
 */
function tarPackage(): string {
  const { resolve } = createRequire(import.meta.url)
  const found = (resolve.paths('tar') ?? []).map((directory) => join(directory, 'tar')).find((path) => existsSync(path))
  if (found === undefined) throw new Error('the package "tar" is not installed')
  return found
}
