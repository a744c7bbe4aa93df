import { statSync } from 'node:fs'

/** Where runtimes put their CRI socket, the most common first; cri-dockerd is left out: it cannot checkpoint. */
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

/** The first of these paths that is a socket. */
export function findSocket(paths: readonly string[] = KNOWN_SOCKETS): string | undefined {
  return paths.find((path) => statSync(path, { throwIfNoEntry: false })?.isSocket() === true)
}
