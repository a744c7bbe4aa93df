import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { STAGING_FOLDER } from '../../../src/agent/directory/staging.ts'
import { archiveProblem } from '../../support/archive-check.ts'
import { thawTree, trackingHierarchy } from '../harness/cgroup-tree.ts'
import type { RuntimeNode } from '../harness/runtime-node.ts'
import { readContainerFreezer } from '../harness/test-pods.ts'

/** Where a container stands: by the task API, by the kernel, and by the only thing that counts in the end. */
export interface ContainerCondition {
  readonly task: string
  readonly freezer: string
  /** "works", or what the runtime says. */
  readonly exec: string
}

export const ALIVE: ContainerCondition = { task: 'RUNNING', freezer: 'THAWED', exec: 'works' }

export async function refresh(node: RuntimeNode, containerId: string): Promise<ContainerCondition> {
  const [task, freezer] = await Promise.all([
    node.admin.taskStatus(containerId),
    readContainerFreezer(node.admin, containerId),
  ])
  return { task, freezer, exec: await tryExec(node, containerId) }
}

export async function tryExec(node: RuntimeNode, containerId: string): Promise<string> {
  try {
    const { exitCode } = await node.admin.execSync(containerId, ['true'], 5)
    return exitCode === 0 ? 'works' : `exit code ${exitCode}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

export async function expectAlive(node: RuntimeNode, containerId: string, withinMs = 15_000): Promise<void> {
  await expect.poll(() => refresh(node, containerId), { timeout: withinMs, interval: 100 }).toEqual(ALIVE)
}

/** Paths of the published archives, whole or not. */
export function archivesIn(checkpointsDir: string): string[] {
  return readdirSync(checkpointsDir)
    .filter((name) => name.endsWith('.tar'))
    .map((name) => join(checkpointsDir, name))
}

/** What is wrong with any file under a final name; empty when all are whole. Nothing else may lie there. */
export function problemsIn(checkpointsDir: string): string[] {
  return readdirSync(checkpointsDir)
    .filter((name) => name !== STAGING_FOLDER)
    .flatMap((name) => {
      const problem = name.endsWith('.tar') ? archiveProblem(join(checkpointsDir, name)) : 'it is no archive'
      return problem === undefined ? [] : [`${name}: ${problem}`]
    })
}

/** What captures have left in staging, beside the lock. */
export function stagingIn(checkpointsDir: string): string[] {
  return readdirSync(join(checkpointsDir, STAGING_FOLDER)).filter((name) => !name.startsWith('lock'))
}

/** Below the mount points of the cgroup trees. */
export async function cgroupOf(node: RuntimeNode, containerId: string): Promise<string> {
  const { info } = await node.admin.containerStatus(containerId)
  const spec = JSON.parse(info['info'] ?? '{}') as { runtimeSpec?: { linux?: { cgroupsPath?: string } } }
  const cgroup = spec.runtimeSpec?.linux?.cgroupsPath
  if (cgroup === undefined) throw new Error(`Cannot find the cgroup of "${containerId}": the runtime does not tell it`)
  return cgroup
}

/** What no one should do: lets the processes run while the runtime goes on believing them paused. */
export async function thawByHand(node: RuntimeNode, containerId: string): Promise<void> {
  thawTree(join(trackingHierarchy(), await cgroupOf(node, containerId)))
}

/** CRIU's errors in the newest log of each container of the node, for a test that failed: containerd never quotes them. */
export async function criuErrors(node: RuntimeNode): Promise<string> {
  const logs = '/run/containerd/io.containerd.runtime.v2.task/k8s.io/*/criu-dump.log'
  const { stdout } = await node.run(['sh', '-c', `grep -aH -E 'Error \\(|Warn' ${logs}`])
  return stdout === '' ? 'no errors in the logs of CRIU' : stdout
}
