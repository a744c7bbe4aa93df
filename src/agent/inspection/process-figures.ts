import { readdirSync, readFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/** Memory of a process, as the kernel reports it. */
export interface ProcessMemory {
  /** Resident memory of the process alone. */
  readonly ownBytes: number
  /** Resident memory mapped from files, which all processes of a program share. */
  readonly sharedBytes: number
}

/** Page size on x64, and usually on arm64. On other nodes, the limit of the chart's container still applies. */
const PAGE_BYTES = 4096
/** Duration of a clock tick. `getconf CLK_TCK` is 100 on every Linux system that runs Node.js. */
const MILLIS_PER_TICK = 10

export function readMemory(pid: number): ProcessMemory | undefined {
  const fields = readProc(`${pid}/statm`)?.split(' ')
  if (fields === undefined) return undefined
  const resident = Number(fields[1]) * PAGE_BYTES
  const sharedBytes = Number(fields[2]) * PAGE_BYTES
  return { ownBytes: resident - sharedBytes, sharedBytes }
}

export interface ProcessTimes {
  /** CPU time of all threads, in user and kernel mode. */
  readonly cpuMs: number
  /** Start time in clock ticks since boot. Together with the PID, it identifies a process uniquely. */
  readonly startTicks: string
}

export function readTimes(pid: number): ProcessTimes | undefined {
  const stat = readProc(`${pid}/stat`)
  // The name is in parentheses and may have any characters.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A zombie has ended.
  if (fields === undefined || fields[0] === 'Z') return undefined
  const [utime, stime, startTicks] = [fields[11], fields[12], fields[19]]
  return { cpuMs: (Number(utime) + Number(stime)) * MILLIS_PER_TICK, startTicks: startTicks ?? '' }
}

/** Reads the command line, which shows which program a process runs. */
export function readCommandLine(pid: number): readonly string[] | undefined {
  return readProc(`${pid}/cmdline`)?.split('\0')
}

/** Sets the priority of each thread. On Linux a priority belongs to a thread, and existing threads keep theirs. */
export function setPriorityOfThreads(pid: number, priority: number): void {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), priority)
  } catch {
    // The process has ended, or its priority may not be set. It then runs at normal priority.
  }
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'latin1')
  } catch {
    return undefined
  }
}
