import { arch, cpus, release } from 'node:os'

/** The machine, as far as it decides whether a checkpoint can be restored elsewhere. */
export interface NodeFacts {
  readonly kernel: string
  readonly architecture: string
  readonly cpuModel: string
}

/** They last as long as the process; the processors are read from a file. */
let known: NodeFacts | undefined

export function readNodeFacts(): NodeFacts {
  known ??= { kernel: release(), architecture: arch(), cpuModel: cpus()[0]?.model.trim() ?? 'unknown' }
  return known
}
