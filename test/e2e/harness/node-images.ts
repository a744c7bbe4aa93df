import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CriAdmin } from '../../support/cri-admin.ts'
import { BUSYBOX_IMAGE, PAUSE_IMAGE, ociImageTar } from '../../support/oci-image.ts'
import type { ContainerdLine } from './containerd-config.ts'

interface ImageNode {
  readonly containerd: ContainerdLine
  readonly workDir: string
  readonly admin: CriAdmin
  ctr(...args: readonly string[]): Promise<string>
}

/** The pause image and `localhost/busybox:1`, without a registry. */
export async function importTinyImages(node: ImageNode, busyboxPath: string): Promise<void> {
  const images = [
    // nothing ends a pause container but a signal, so the length of its sleep does not matter
    { name: PAUSE_IMAGE, entrypoint: ['/bin/sleep', '1000000'] },
    { name: BUSYBOX_IMAGE, entrypoint: ['/bin/sh'] },
  ]
  const tar = join(node.workDir, 'images.tar')
  writeFileSync(tar, ociImageTar(images, readFileSync(busyboxPath)))
  await importImage(node, tar)
  rmSync(tar)
  for (const { name } of images) await waitForImage(node.admin, name)
}

/** `tar` must lie below the node's work folder. CRI sees the image a moment later: `waitForImage`. */
export async function importImage(node: ImageNode, tar: string): Promise<void> {
  // 2.x by default hands the import to the daemon, which has no unpacker for a snapshotter named here; 1.6 knows no such flag
  const local = node.containerd === '1.6' ? [] : ['--local']
  await node.ctr('images', 'import', ...local, '--snapshotter', 'native', tar)
}

/** CRI learns of images that others import through events. */
export async function waitForImage(admin: CriAdmin, image: string): Promise<void> {
  for (const start = Date.now(); !(await admin.hasImage(image)); await sleep(20)) {
    if (Date.now() - start > 10_000) throw new Error(`Cannot find image "${image}": CRI does not list it after 10 s`)
  }
}
