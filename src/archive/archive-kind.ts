import type { Problem } from '../checkpoint/problem.ts'
import { type ArchiveProblemCode, archiveProblem } from './archive-problem.ts'

/**
 * Content of an archive. `container`: one container, as the kubelet's API writes it. `pod`: a whole
 * pod, which has no settled format yet. `criu-images`: CRIU images without the metadata of an
 * engine. `oci-image`: a checkpoint as an image.
 */
export type ArchiveKind = 'container' | 'pod' | 'criu-images' | 'oci-image' | 'unknown'

/** Members that determine the kind. */
export interface KindSigns {
  /** True if the end was reached, so that absent members are missing. */
  readonly isWhole: boolean
  readonly hasConfig: boolean
  readonly hasSpec: boolean
  readonly hasCheckpointFolder: boolean
  readonly hasPreCheckpoint: boolean
  /** True if there is an `inventory.img` in any directory. */
  readonly hasInventory: boolean
  readonly hasPodManifest: boolean
  readonly hasOciLayout: boolean
}

export function detectKind(signs: KindSigns): ArchiveKind {
  if (signs.hasPodManifest) return 'pod'
  if (signs.hasConfig || signs.hasSpec) return 'container'
  if (signs.hasOciLayout) return 'oci-image'
  // containerd and CRI-O write the images before the metadata, which may be beyond the cut.
  if (signs.hasCheckpointFolder && !signs.isWhole) return 'container'
  if (signs.hasInventory) return 'criu-images'
  return signs.hasCheckpointFolder ? 'container' : 'unknown'
}

/**
 * Lists the members that an archive of this kind lacks. Lists nothing for a truncated archive,
 * whose truncation is reported already.
 */
export function findMissing(kind: ArchiveKind, signs: KindSigns): readonly Problem[] {
  if (!signs.isWhole) return []
  if (kind === 'container') return findMissingMembers(signs)
  return [archiveProblem(...NO_CONTAINER[kind])]
}

const NO_CONTAINER: Readonly<Record<Exclude<ArchiveKind, 'container'>, readonly [ArchiveProblemCode, string]>> = {
  pod: ['PodCheckpoint', 'it is the checkpoint of a whole pod; what is inside is not read'],
  'criu-images': ['RawCriuImages', 'it is a folder of CRIU images without the metadata of an engine'],
  'oci-image': ['OciImage', 'it is an OCI image, not an archive of the kubelet'],
  unknown: ['NotACheckpoint', 'it holds nothing of a checkpoint'],
}

function findMissingMembers({ hasConfig, hasSpec, hasCheckpointFolder, hasPreCheckpoint }: KindSigns): Problem[] {
  const problems: Problem[] = []
  if (!hasConfig) problems.push(archiveProblem('NoConfigDump', 'config.dump is missing'))
  if (!hasSpec) problems.push(archiveProblem('NoSpecDump', 'spec.dump is missing'))
  if (hasCheckpointFolder) return problems
  const images = hasPreCheckpoint
    ? archiveProblem('PreCheckpoint', 'it is the first part of a checkpoint in two steps: memory, not yet stopped')
    : archiveProblem('NoCheckpointImages', 'the checkpoint folder is missing')
  return [...problems, images]
}
