import fs from 'node:fs'
import module from 'node:module'
import os from 'node:os'
import process from 'node:process'
import v8 from 'node:v8'

/**
 * Takes away what Node's permission model leaves open (decision 15), for the case that bytes of an archive come to run
 * code: signals and priorities of other processes, V8's flags (one of them writes files), links inside of the directory,
 * and every module that is not loaded by now. What stays is reading plain files of the directory.
 */
export function lockDown(directory: string): void {
  keepOnly(process, KEPT_OF_PROCESS)
  // A module of its own: it is changed before the way to it is gone.
  keepOnly(fs.promises, new Set(['constants']))
  keepOnly(fs, KEPT_OF_FS)
  fs.openSync = plainOpen(fs.openSync, fs.lstatSync.bind(fs), directory)
  forbid(fs, 'lstatSync')
  forbid(os, 'setPriority')
  for (const name of Object.keys(v8)) forbid(v8, name)
  for (const name of GLOBALS) Reflect.deleteProperty(globalThis, name)
  module.registerHooks({
    resolve: (name) => {
      throw denied(`load ${name}`)
    },
  })
  keepOnly(module, new Set(['syncBuiltinESMExports', 'prototype', 'length', 'name', 'wrap', 'wrapper']))
  module.syncBuiltinESMExports()
}

/** What Node itself asks of it while it runs, and facts. */
const KEPT_OF_PROCESS = new Set([
  'version',
  'versions',
  'arch',
  'platform',
  'release',
  'domain',
  'config',
  'features',
  'permission',
  'pid',
  'ppid',
  'argv',
  'argv0',
  'execArgv',
  'execPath',
  'env',
  'title',
  'exitCode',
  'exit',
  'reallyExit',
  'uptime',
  'hrtime',
  'memoryUsage',
  'cpuUsage',
  'nextTick',
  'emitWarning',
  'noDeprecation',
  'throwDeprecation',
  'traceDeprecation',
  '_exiting',
  '_events',
  '_eventsCount',
  '_maxListeners',
  '_tickCallback',
  '_fatalException',
  'setUncaughtExceptionCaptureCallback',
])

const KEPT_OF_FS = new Set([
  'openSync',
  'lstatSync',
  'closeSync',
  'fstatSync',
  'readSync',
  'read',
  'writeSync',
  'constants',
])

/** Denied by the permission model as well; and `gc`, which can be asked to write a heap snapshot. */
const GLOBALS = [
  'gc',
  'fetch',
  'WebSocket',
  'EventSource',
  'localStorage',
  'sessionStorage',
  'BroadcastChannel',
  'navigator',
]

function keepOnly(target: object, kept: ReadonlySet<string>): void {
  for (const name of Reflect.ownKeys(target)) {
    if (typeof name === 'string' && !kept.has(name)) forbid(target, name)
  }
}

/** Where it cannot be taken away the process must not go on. */
function forbid(target: object, name: string): void {
  const what = Reflect.getOwnPropertyDescriptor(target, name)
  if (what === undefined) return
  const isFunction = typeof what.value === 'function' || what.get !== undefined
  const value = isFunction
    ? () => {
        throw denied(name)
      }
    : undefined
  const isGone = Reflect.defineProperty(target, name, {
    value,
    writable: false,
    configurable: false,
    enumerable: false,
  })
  if (!isGone) throw new Error(`cannot take away ${name}`)
}

type Open = typeof fs.openSync

/** Opens for reading alone, below the directory, and nothing that a link leads to. */
function plainOpen(open: Open, lstat: typeof fs.lstatSync, directory: string): Open {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants
  const base = Buffer.from(`${directory}/`)
  return (path) => {
    if (!Buffer.isBuffer(path) || !path.subarray(0, base.length).equals(base)) throw denied('openSync')
    // A copy: the one who asks could change it between the look and the opening.
    const own = Buffer.from(path)
    for (let slash = own.indexOf(SLASH, base.length); slash >= 0; slash = own.indexOf(SLASH, slash + 1)) {
      if (!lstat(own.subarray(0, slash)).isDirectory()) throw denied('openSync through a link')
    }
    return open(own, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  }
}

const SLASH = '/'.charCodeAt(0)

function denied(what: string): Error {
  return Object.assign(new Error(`the reader's process may not: ${what}`), { code: 'ERR_ACCESS_DENIED' })
}
