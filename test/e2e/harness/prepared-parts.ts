import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { ContainerdLine } from './containerd-config.ts'

export interface PreparedParts {
  /** The folder under the node's root overlay. */
  readonly root: string
  /** Folders that come first on the node's PATH. */
  readonly programs: readonly string[]
}

/** Makes what is missing in the cache, which takes minutes and is announced on standard error. */
export async function prepareParts(containerd: ContainerdLine): Promise<PreparedParts> {
  const [root, ...programs] = await prepare(PARTS[containerd])
  if (root === undefined) throw new Error(`Cannot prepare a node for containerd ${containerd}: no root folder was made`)
  return { root, programs }
}

const PARTS: Record<ContainerdLine, readonly string[]> = {
  '1.6': ['root-bookworm'],
  '2.1': ['root'],
  '2.4': ['root', 'containerd-2.4'],
}

async function prepare(parts: readonly string[]): Promise<readonly string[]> {
  const child = spawn(join(import.meta.dirname, 'prepare'), parts, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', resolve)
  })
  const [exitCode, output] = await Promise.all([ended, text(child.stdout)])
  if (exitCode !== 0) throw new Error(`Cannot prepare "${parts.join(' ')}": see what it said on standard error`)
  return output.trim().split('\n')
}
