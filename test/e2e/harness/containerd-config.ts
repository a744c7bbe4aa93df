import { PAUSE_IMAGE } from '../../support/oci-image.ts'

/** 1.6 is Debian 12's and answers UNIMPLEMENTED to a checkpoint; 2.1 is Debian's next; 2.4 is built from its module. */
export type ContainerdLine = '1.6' | '2.1' | '2.4'

export interface ContainerdPlaces {
  readonly dataDir: string
  readonly socketPath: string
  readonly extraConfigPath: string
}

export function containerdConfig(line: ContainerdLine, places: ContainerdPlaces): string {
  return `${configHeader(line)}
imports = [${quote(places.extraConfigPath)}]
root = ${quote(places.dataDir)}
state = "/run/containerd"
[grpc]
  address = ${quote(places.socketPath)}
${line === '1.6' ? CRI_1_6 : CRI_2}`
}

/** Imported by the main configuration; must name the same version. */
export function extraConfig(line: ContainerdLine, text: string): string {
  return `${configHeader(line)}\n${text}\n`
}

function configHeader(line: ContainerdLine): string {
  return `version = ${line === '1.6' ? 2 : 3}`
}

// The native snapshotter needs no file system of its own kind. Containers' OOM scores cannot be lowered below our own
// without CAP_SYS_RESOURCE, which root lacks on some machines.
const CRI_2 = `
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = ${quote(PAUSE_IMAGE)}
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/${process.arch === 'arm64' ? 'arm64' : 'amd64'}"
  snapshotter = "native"
  differ = "walking"
`

const CRI_1_6 = `
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${quote(PAUSE_IMAGE)}
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
`

function quote(text: string): string {
  return JSON.stringify(text)
}
