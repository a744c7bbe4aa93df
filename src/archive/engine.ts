import type { Engine } from '../checkpoint/engine.ts'
import type { SpecDump } from './spec-dump.ts'

/** Members that only one engine writes. */
export interface EngineHints {
  hasContainerdMember: boolean
  hasCrioMember: boolean
  hasPodmanMember: boolean
}

/** Detects the engine by its own annotation, then by other annotations, then by members. */
export function detectEngine(spec: SpecDump | undefined, hints: EngineHints): Engine {
  const manager = spec?.annotations.get('io.container.manager')
  if (manager === 'libpod') return 'podman'
  if (manager === 'cri-o') return 'cri-o'
  if (spec?.hasContainerdKey === true || hints.hasContainerdMember) return 'containerd'
  if (hints.hasCrioMember) return 'cri-o'
  if (hints.hasPodmanMember) return 'podman'
  return 'unknown'
}
