import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

let mayMount: boolean | undefined

/** With the reason, as every skipped test. */
export function skipUnlessMayMount(skip: (reason: string) => void): void {
  mayMount ??= tryToMount()
  if (!mayMount) skip('only who may mount can make a file that even root cannot remove')
}

function tryToMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'may-mount-'))
  try {
    if (spawnSync('mount', ['--bind', folder, folder]).status !== 0) return false
    run('umount', folder)
    return true
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Makes the file one that even root cannot unlink: something is mounted on it. Returns how to end that. */
export function makeUnremovable(path: string): () => void {
  run('mount', '--bind', path, path)
  let isMounted = true
  const end = () => {
    if (isMounted) run('umount', path)
    isMounted = false
  }
  onTestFinished(end)
  return end
}

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`Cannot ${command}: ${stderr}`)
}
