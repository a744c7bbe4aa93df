import child_process from 'node:child_process'
import cluster from 'node:cluster'
import crypto from 'node:crypto'
import dgram from 'node:dgram'
import dns from 'node:dns'
import fs from 'node:fs'
import fs_promises from 'node:fs/promises'
import inspector from 'node:inspector'
import module from 'node:module'
import net from 'node:net'
import os from 'node:os'
import process from 'node:process'
import trace_events from 'node:trace_events'
import v8 from 'node:v8'
import vm from 'node:vm'
import worker_threads from 'node:worker_threads'
import zlib from 'node:zlib'
import { encodeJson } from '../../src/agent/inspection/frame-codec.ts'
import { lockDown } from '../../src/agent/inspection/reader-lockdown.ts'
import { serveAgent } from '../../src/agent/inspection/reader-service.ts'

// The reader's process, which runs code that a test gives it: as if the bytes of an archive had come to do so. It has more
// in its hands than they would, for every module here is loaded before the process is locked down.

const modules = {
  child_process,
  cluster,
  crypto,
  dgram,
  dns,
  fs,
  fs_promises,
  inspector,
  module,
  net,
  os,
  trace_events,
  v8,
  worker_threads,
  zlib,
}

const abort = process.abort.bind(process)
const run = vm.runInThisContext.bind(vm)
const importModuleDynamically = vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER
const [, , directory = ''] = process.argv
const requests = process.stdin
const endSelf = () => process.exit()
lockDown(directory)
makeSomeNamesExpensive()
serveAgent({ directory, requests, endSelf, onOther: async (request) => await runCode(request) })

async function runCode(request: object): Promise<unknown> {
  const code = 'code' in request ? String(request.code) : ''
  const given: unknown = run(`(async (modules, directory) => {${code}})`, { importModuleDynamically })
  if (typeof given !== 'function') throw new Error('no function')
  try {
    return { value: String(await given(modules, directory)) }
  } catch (error) {
    const errorCode = error instanceof Error && 'code' in error ? String(error.code) : ''
    return { error: `${errorCode} ${error instanceof Error ? error.message : String(error)}` }
  }
}

/** In the place of archives that make a parser do what their names say. */
function makeSomeNamesExpensive(): void {
  const { openSync, readSync } = fs
  const slow = new Set<number>()
  fs.openSync = (path, flags) => {
    const name = String(path).replace(/^.*\//, '')
    EATERS[name]?.()
    const descriptor = openSync(path, flags)
    if (name === 'paced.tar') slow.add(descriptor)
    return descriptor
  }
  fs.readSync = ((descriptor: number, ...rest: [Buffer, number, number, number]) => {
    if (slow.has(descriptor)) spinFor(20)
    return readSync(descriptor, ...rest)
  }) as typeof fs.readSync
  module.syncBuiltinESMExports()
}

const EATERS: Readonly<Record<string, () => void>> = {
  'memory.tar': () => {
    const held: Buffer[] = []
    for (;;) {
      held.push(Buffer.alloc(8 * 1024 * 1024, held.length))
      spinFor(5)
    }
  },
  'cpu.tar': () => spinFor(Infinity),
  'abort.tar': () => abort(),
  'liar.tar': () => {
    fs.writeSync(
      1,
      encodeJson({ kind: 'outcomes', first: 0, outcomes: [{ kind: 'summary', summary: { kind: 'container' } }] }),
    )
    spinFor(Infinity)
  },
  'flood.tar': () => {
    fs.writeSync(1, Buffer.from([1, 0, 0x10, 0]))
    spinFor(Infinity)
  },
}

function spinFor(millis: number): void {
  const endMs = performance.now() + millis
  while (performance.now() < endMs);
}
