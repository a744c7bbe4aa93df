import { readdirSync, readFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/** What the kernel says of a process; undefined where there is none any more. */
export interface ProcessMemory {
  /** In memory, of its own. */
  readonly ownBytes: number
  /** Mapped from files: the same for all processes of one program. */
  readonly sharedBytes: number
}

/** Pages are of 4 KiB on x64, and on arm64 as a rule; the chart's limit holds where they are not. */
const PAGE_BYTES = 4096
/** `getconf CLK_TCK`: 100 wherever Linux runs Node. */
const MILLIS_PER_TICK = 10

export function readMemory(pid: number): ProcessMemory | undefined {
  const fields = readProc(`${pid}/statm`)?.split(' ')
  if (fields === undefined) return undefined
  const resident = Number(fields[1]) * PAGE_BYTES
  const sharedBytes = Number(fields[2]) * PAGE_BYTES
  return { ownBytes: resident - sharedBytes, sharedBytes }
}

export interface ProcessTimes {
  /** Of all its threads, in the kernel and outside. */
  readonly cpuMs: number
  /** In clock ticks since the machine started: with the id it names one process for good. */
  readonly startTicks: string
}

export function readTimes(pid: number): ProcessTimes | undefined {
  const stat = readProc(`${pid}/stat`)
  // Its name stands in brackets and may hold anything.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A zombie has ended.
  if (fields === undefined || fields[0] === 'Z') return undefined
  const [utime, stime, startTicks] = [fields[11], fields[12], fields[19]]
  return { cpuMs: (Number(utime) + Number(stime)) * MILLIS_PER_TICK, startTicks: startTicks ?? '' }
}

/** The command line, to tell what a process is. */
export function readCommandLine(pid: number): readonly string[] | undefined {
  return readProc(`${pid}/cmdline`)?.split('\0')
}

/** Each thread by itself: on Linux a priority is a thread's, and those that are there keep theirs. */
export function setPriorityOfThreads(pid: number, priority: number): void {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), priority)
  } catch {
    // It has ended, or may not be set: then it competes as everybody else.
  }
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'latin1')
  } catch {
    return undefined
  }
}
