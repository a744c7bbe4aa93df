import fs from 'node:fs'
import module from 'node:module'
import os from 'node:os'
import process from 'node:process'
import v8 from 'node:v8'

/**
 * Closes the gaps of Node.js's permission model in case content of an archive executes code. Removes access to other
 * processes' signals and priorities, V8's flags (one of them writes files), links in the directory, and unloaded
 * modules. The process can still read regular files of the directory.
 */
export function lockDown(directory: string): void {
  keepOnly(process, KEPT_OF_PROCESS)
  // `fs.promises` is a separate module, so it is changed before access to it is removed.
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

/** Members that Node.js itself needs at run time, and constants. */
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

/** Globals that the permission model denies as well, and `gc`, which can write a heap snapshot. */
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

/**
 * Replaces a member with a function that throws. Throws if that is impossible, so that the process does not continue.
 */
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

/** Returns an `openSync` that opens files in the directory for reading only and follows no links. */
function plainOpen(open: Open, lstat: typeof fs.lstatSync, directory: string): Open {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants
  const base = Buffer.from(`${directory}/`)
  return (path) => {
    if (!Buffer.isBuffer(path) || !path.subarray(0, base.length).equals(base)) throw denied('openSync')
    // Uses a copy, because the caller could change the path between the check and the opening.
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
