import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

/** How the reader's process is begun: which program, and with what it may do. */
export interface ReaderProgram {
  readonly file: string
  readonly arguments: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

const SOURCES = join(dirname(fileURLToPath(import.meta.url)), '../..')
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js'

/**
 * Nothing is allowed but to read the directory and the program's own code: no writing, no network, no sockets, no
 * processes, no threads, no add-ons. What the permission model leaves open is closed by `reader-lockdown.ts`.
 */
const FLAGS = [
  '--permission',
  '--no-experimental-sqlite',
  '--no-experimental-webstorage',
  '--no-experimental-websocket',
  '--no-experimental-ffi',
  '--no-addons',
  '--no-global-search-paths',
  // Where node_modules is a link, or a package in it: the way to its real place would have to be readable, too.
  '--preserve-symlinks',
  '--disable-sigusr1',
  '--disable-proto=delete',
  '--no-warnings',
]

/** What a parser needs at the most: half a million processes, 200,000 names. What is beyond the heap is watched from outside. */
const MEMORY_FLAGS = [
  '--max-old-space-size=96',
  '--max-semi-space-size=2',
  '--optimize-for-size',
  '--expose-gc',
  '--v8-pool-size=1',
  '--stack-size=700',
]

/** For glibc: what is freed goes back to the node. The pool has one thread that waits for requests and one that unpacks. */
const ENVIRONMENT = {
  UV_THREADPOOL_SIZE: '2',
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '16384',
  MALLOC_TRIM_THRESHOLD_: '16384',
}

export interface ReaderProgramOptions {
  /** The real path of the checkpoint directory: a link is allowed under its own name alone. */
  readonly directory: string
  /** Another entry than `reader-process`: tests have one that runs code of theirs. */
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

/** Node asks it whether the files beside it are modules. */
function packageFile(directory: string): string {
  return realpathSync(join(directory, '../package.json'))
}

/** The one package that the parsers stand on, where Node finds it: a link is allowed under its own name alone. */
function tarPackage(): string {
  const { resolve } = createRequire(import.meta.url)
  const found = (resolve.paths('tar') ?? []).map((directory) => join(directory, 'tar')).find((path) => existsSync(path))
  if (found === undefined) throw new Error('the package "tar" is not installed')
  return found
}
