import { arch, cpus, release } from 'node:os'

/** Properties of the machine that decide whether a checkpoint can be restored elsewhere. */
export interface NodeFacts {
  readonly kernel: string
  readonly architecture: string
  readonly cpuModel: string
}

/** Cached for the lifetime of the process, because the processors are read from a file. */
let known: NodeFacts | undefined

export function readNodeFacts(): NodeFacts {
  known ??= { kernel: release(), architecture: arch(), cpuModel: cpus()[0]?.model.trim() ?? 'unknown' }
  return known
}
