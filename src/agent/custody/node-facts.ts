import { arch, cpus, release } from 'node:os'

/** The machine, as far as it decides whether a checkpoint can be restored elsewhere. */
export interface NodeFacts {
  readonly kernel: string
  readonly architecture: string
  readonly cpuModel: string
}

export function readNodeFacts(): NodeFacts {
  return { kernel: release(), architecture: arch(), cpuModel: cpus()[0]?.model.trim() ?? 'unknown' }
}
