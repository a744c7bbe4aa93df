import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { containerdConfig, extraConfig } from './containerd-config.ts'
import type { ContainerdLine } from './containerd-config.ts'
import { nodeFolder } from './node-registry.ts'

export interface NodePlaces {
  readonly workDir: string
  readonly dataDir: string
  readonly socketPath: string
  readonly checkpointsDir: string
  readonly podLogs: string
  readonly containerdLog: string
  readonly configPath: string
}

interface PlacesOptions {
  readonly containerd: ContainerdLine
  readonly checkpointsSizeMiB?: number
  readonly extraConfig?: string
}

/** Makes the node's folders, with containerd's configuration in them. */
export function makeNodePlaces(name: string, options: PlacesOptions): NodePlaces {
  const folder = nodeFolder(name)
  const workDir = join(folder, 'work')
  const places = {
    workDir,
    dataDir: join(folder, 'lib'),
    socketPath: join(workDir, 'run/containerd.sock'),
    checkpointsDir: join(workDir, 'checkpoints'),
    podLogs: join(workDir, 'pod-logs'),
    containerdLog: join(workDir, 'containerd.log'),
    configPath: join(workDir, 'config/containerd.toml'),
  }
  for (const made of ['root', 'upper', 'overlay', 'lib', 'work/run', 'work/pod-logs', 'work/config']) {
    mkdirSync(join(folder, made), { recursive: true })
  }
  mkdirSync(places.checkpointsDir, { mode: 0o700 })
  if (options.checkpointsSizeMiB !== undefined) {
    mountSmallFilesystem(join(folder, 'checkpoints.ext4'), places.checkpointsDir, options.checkpointsSizeMiB)
  }
  const extraConfigPath = join(workDir, 'config/extra.toml')
  writeFileSync(extraConfigPath, extraConfig(options.containerd, options.extraConfig ?? ''))
  writeFileSync(places.configPath, containerdConfig(options.containerd, { ...places, extraConfigPath }))
  return places
}

function mountSmallFilesystem(image: string, mountPoint: string, sizeMiB: number): void {
  writeFileSync(image, '')
  truncateSync(image, sizeMiB * 1024 * 1024)
  execFileSync('mkfs.ext4', ['-q', '-m', '0', image], { stdio: ['ignore', 'ignore', 'inherit'] })
  execFileSync('mount', ['-o', 'loop', image, mountPoint])
  rmSync(join(mountPoint, 'lost+found'), { recursive: true })
  chmodSync(mountPoint, 0o700)
}
