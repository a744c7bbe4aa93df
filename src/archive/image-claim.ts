import type { ConfigDump } from './config-dump.ts'
import type { Engine } from '../checkpoint/engine.ts'
import type { Dumps } from './identity-claim.ts'
import { plainText } from './plain-text.ts'

/** The container's image as the archive names it. Safe to display, but not meant for pulling. */
export interface ImageClaim {
  /** `registry/name:tag`, or the name that the user wrote. */
  readonly name?: string
  /** `sha256:…` of the manifest. */
  readonly digest?: string
  /** `sha256:…`; without the prefix in CRI-O and Podman, as their own tools show it. */
  readonly id?: string
}

export function readImageClaim(engine: Engine, { config, spec, status }: Dumps): ImageClaim {
  const annotation = (key: string) => spec?.annotations.get(key)
  const name =
    config?.rootfsImageName ??
    config?.rawImageName ??
    annotation('io.kubernetes.cri.image-name') ??
    annotation('io.kubernetes.cri-o.ImageName') ??
    config?.rootfsImage
  const digest = firstDigest([
    config?.rootfsImageRef,
    status?.imageRef,
    annotation('io.kubernetes.cri-o.Image'),
    digestOfName(annotation('io.kubernetes.cri-o.ImageRepoDigests'), name),
    config?.rootfsImage,
    name,
  ])
  const id =
    engine === 'podman' ? config?.rootfsImageId : imageId(config, status?.imageId, status?.imageRef, annotation)
  return {
    ...(name !== undefined && { name: plainText(name) }),
    ...(digest !== undefined && { digest }),
    ...(id !== undefined && { id: plainText(id) }),
  }
}

function imageId(
  config: ConfigDump | undefined,
  statusId: string | undefined,
  statusRef: string | undefined,
  annotation: (key: string) => string | undefined,
): string | undefined {
  return [config?.rootfsImageRef, statusId, statusRef, annotation('io.kubernetes.cri-o.ImageRef')].find(
    (value) => value !== undefined && ID.test(value),
  )
}

const ID = /^(?:sha256:)?[0-9a-f]{64}$/
const DIGEST = /@(sha256:[0-9a-f]{64})$/

function firstDigest(values: readonly (string | undefined)[]): string | undefined {
  for (const value of values) {
    const digest = DIGEST.exec(value ?? '')?.[1]
    if (digest !== undefined) return digest
  }
  return undefined
}

/** Selects the digest of this image's repository from `a@sha256:…,b@sha256:…`, or the first one. */
function digestOfName(list: string | undefined, name: string | undefined): string | undefined {
  const digests = list?.split(',') ?? []
  const repository = name?.replace(/@.*$/, '').replace(/:[^:/]*$/, '')
  return digests.find((digest) => digest.split('@')[0] === repository) ?? digests[0]
}
