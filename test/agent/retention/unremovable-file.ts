import { spawnSync } from 'node:child_process'
import { onTestFinished } from 'vitest'

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
