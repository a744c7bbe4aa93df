import type { NodeStatus } from '../../http/node-services.ts'
import { floorBytes, readDiskSpace, type DiskFloor } from '../directory/disk-space.ts'
import type { LeftoverImages } from '../containers/leftover-images.ts'
import type { RuntimeState } from '../containers/runtime-monitor.ts'

export interface NodeLeftoverImages {
  readonly containers: number
  readonly bytes: number
  readonly oldestAt: Date | undefined
}

export interface NodeStatusSources {
  readonly node: string
  readonly agentVersion: string
  readonly checkpointsDirectory: string
  readonly diskFloor: DiskFloor
  readonly runtime: () => Promise<RuntimeState>
  readonly archives: { readonly byState: Readonly<Record<string, number>>; readonly bytes: number }
  readonly captures: NodeStatus['captures']
  readonly freezeGuard: NodeStatus['freezeGuard']
  readonly leftoverImages: readonly LeftoverImages[] | undefined
  readonly custody: NodeStatus['custody']
  readonly tlsFingerprint: string | undefined
}

/** Returns counts and capabilities without names, which every authenticated caller may see. */
export async function describeNode(sources: NodeStatusSources): Promise<NodeStatus> {
  const { node, agentVersion, checkpointsDirectory, diskFloor, captures, freezeGuard, custody, tlsFingerprint } =
    sources
  const [{ version, ability, checkedAt }, disk] = await Promise.all([
    sources.runtime(),
    readDiskSpace(checkpointsDirectory),
  ])
  const { byState } = sources.archives
  return {
    node,
    agentVersion,
    runtime: version,
    canCheckpoint: { ...ability, ...(checkedAt !== undefined && { checkedAt }) },
    disk: { ...disk, archiveBytes: sources.archives.bytes, floorBytes: floorBytes(diskFloor, disk) },
    checkpoints: { count: Object.values(byState).reduce((sum, rows) => sum + rows, 0), byState },
    captures,
    freezeGuard,
    leftoverImages: sources.leftoverImages && summarizeLeftovers(sources.leftoverImages),
    custody,
    tlsFingerprint,
  }
}

export function summarizeLeftovers(found: readonly LeftoverImages[]): NodeLeftoverImages {
  const times = found.map(({ modifiedAt }) => modifiedAt.getTime())
  return {
    containers: found.length,
    bytes: found.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    oldestAt: times.length === 0 ? undefined : new Date(Math.min(...times)),
  }
}
