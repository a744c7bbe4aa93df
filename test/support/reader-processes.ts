import { readFileSync } from 'node:fs'

/** The processes of an agent that read archives for it. */
export function readersOf(agent: number): number[] {
  return read(`/proc/${agent}/task/${agent}/children`)
    .split(' ')
    .filter((pid) => pid !== '')
    .map(Number)
    .filter((pid) => read(`/proc/${pid}/cmdline`).includes('reader-process'))
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
