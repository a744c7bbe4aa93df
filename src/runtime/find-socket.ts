import { statSync } from 'node:fs'

/**
 * Usual paths of CRI sockets, the most common first. Sockets of cri-dockerd come last, because it
 * cannot take checkpoints.
 */
export const KNOWN_SOCKETS: readonly string[] = [
  '/run/containerd/containerd.sock',
  '/run/crio/crio.sock',
  '/var/run/crio/crio.sock',
  '/run/k3s/containerd/containerd.sock',
  '/run/k0s/containerd.sock',
  '/var/snap/microk8s/common/run/containerd.sock',
  '/var/run/cri-dockerd.sock',
  '/run/k3s/cri-dockerd/cri-dockerd.sock',
]

/** Returns the first of these paths that is a socket. */
export function findSocket(paths: readonly string[] = KNOWN_SOCKETS): string | undefined {
  return paths.find((path) => statSync(path, { throwIfNoEntry: false })?.isSocket() === true)
}
