import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { CHECKPOINTS } from './agent-in-node.ts'
import { cluster, type NodeName } from './cluster-harness.ts'

/** The folder of archives on a node, without the agent. */
export interface ArchiveFolder {
  /** As this machine sees it; on the node it is `CHECKPOINTS`. */
  readonly path: string
  /** Sizes by name. */
  list(): ReadonlyMap<string, number>
  /** By `sha256sum` on the node. */
  digestOf(fileName: string): Promise<string>
  /** Removes what came since `findArchiveFolder`. */
  clear(): void
}

export async function findArchiveFolder(node: NodeName): Promise<ArchiveFolder> {
  const path = join(await cluster.folder(), `node-${node}/lib/kubelet/checkpoints`)
  const names = () => readNames(path).filter((name) => name.endsWith('.tar'))
  const earlier = new Set(names())
  return {
    path,
    list: () => new Map(names().map((name) => [name, statSync(join(path, name)).size])),
    async digestOf(fileName) {
      const { stdout } = await runOnNode(node, ['sha256sum', `${CHECKPOINTS}/${fileName}`])
      return stdout.slice(0, 64)
    },
    clear() {
      for (const name of names()) if (!earlier.has(name)) rmSync(join(path, name))
    },
  }
}

/** For who counts what is listed: earlier tests, and people who play with the cluster, leave archives behind. */
export async function emptyArchiveFolders(nodes: readonly NodeName[]): Promise<void> {
  for (const node of nodes) {
    const path = join(await cluster.folder(), `node-${node}/lib/kubelet/checkpoints`)
    for (const name of readNames(path)) if (/\.tar(\.keep)?$/.test(name)) rmSync(join(path, name))
  }
}

/** By the real kubelet, which knows nothing of the agent: the name of the archive, once the kubelet says that it is there. */
export async function checkpointByKubelet(node: NodeName, pod: string): Promise<string> {
  const { status, body } = await cluster.kubeletPost(node, `/checkpoint/shop/${pod}/main`)
  if (status !== 200) throw new Error(`Cannot checkpoint "${pod}" through the kubelet: ${status} ${body}`)
  const [path = ''] = (JSON.parse(body) as { items: readonly string[] }).items
  if (!path.startsWith(`${CHECKPOINTS}/`)) throw new Error(`Cannot find the archive that the kubelet names: ${body}`)
  return path.slice(CHECKPOINTS.length + 1)
}

/** As an admin would; throws when it fails. */
export async function runOnNode(node: NodeName, argv: readonly string[]): Promise<{ readonly stdout: string }> {
  const { code, stdout, stderr } = await cluster.inNode(node, argv)
  if (code !== 0) throw new Error(`Cannot run "${argv.join(' ')}" on node ${node}: exit code ${code} ${stderr}`)
  return { stdout }
}

/** The kubelet makes the folder with its first checkpoint. */
function readNames(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
