import { type Problem, ProblemError } from '../checkpoint/problem.ts'
import { archiveProblem, quoted } from './archive-problem.ts'
import type { ConfigDump } from './config-dump.ts'
import type { Engine } from '../checkpoint/engine.ts'
import { JsonReader } from './json-reader.ts'
import { plainText } from './plain-text.ts'
import type { SpecDump } from './spec-dump.ts'
import { readMetadata, type StatusDump } from './status-dump.ts'

/**
 * The container that an archive claims to belong to. Nothing in an archive is signed;
 * `identity-assessment.ts` decides whether to trust it. All texts are safe to display, and fields
 * that the archive does not state are omitted.
 */
export interface IdentityClaim {
  readonly namespace?: string
  readonly pod?: string
  readonly podUid?: string
  readonly container?: string
  readonly containerId?: string
  readonly sandboxId?: string
  /** Number of restarts of the container. */
  readonly attempt?: number
  /** True if two places in the archive contradict each other. */
  readonly isContradictory: boolean
}

export interface Dumps {
  readonly config?: ConfigDump | undefined
  readonly spec?: SpecDump | undefined
  readonly status?: StatusDump | undefined
}

/**
 * Reads the identity from the places that name it, by engine. The first place counts, and the
 * others should agree.
 */
export function readIdentityClaim(engine: Engine, dumps: Dumps, onProblem: (problem: Problem) => void): IdentityClaim {
  const places = placesOf(engine, dumps, onProblem)
  let isContradictory = false
  const pick = (what: string, ...values: readonly (string | undefined)[]) => {
    const told = values.filter((value) => value !== undefined)
    const other = told.find((value) => value !== told[0])
    if (other !== undefined) {
      isContradictory = true
      onProblem(archiveProblem('IdentityDisagrees', `the ${what} is ${quoted(told[0] ?? '')} and ${quoted(other)}`))
    }
    return told[0] === undefined ? undefined : plainText(told[0])
  }
  const namespace = pick('namespace', ...places.namespace)
  const pod = pick('pod', ...places.pod)
  const podUid = pick('pod UID', ...places.podUid)
  const container = pick('container', ...places.container)
  const containerId = pick('container ID', ...places.containerId)
  const sandboxId = pick('sandbox ID', ...places.sandboxId)
  return {
    ...(namespace !== undefined && { namespace }),
    ...(pod !== undefined && { pod }),
    ...(podUid !== undefined && { podUid }),
    ...(container !== undefined && { container }),
    ...(containerId !== undefined && { containerId }),
    ...(sandboxId !== undefined && { sandboxId }),
    ...(places.attempt !== undefined && { attempt: places.attempt }),
    isContradictory,
  }
}

type Told = readonly (string | undefined)[]

interface Places {
  readonly namespace: Told
  readonly pod: Told
  readonly podUid: Told
  readonly container: Told
  readonly containerId: Told
  readonly sandboxId: Told
  readonly attempt: number | undefined
}

function placesOf(engine: Engine, { config, spec, status }: Dumps, onProblem: (problem: Problem) => void): Places {
  const annotation = (key: string) => spec?.annotations.get(key)
  const label = (key: string) => status?.labels.get(key)
  const attempt = status?.attempt ?? attemptInName(config?.name)
  switch (engine) {
    case 'containerd':
      return {
        namespace: [annotation('io.kubernetes.cri.sandbox-namespace'), label('io.kubernetes.pod.namespace')],
        pod: [annotation('io.kubernetes.cri.sandbox-name'), label('io.kubernetes.pod.name')],
        podUid: [annotation('io.kubernetes.cri.sandbox-uid'), label('io.kubernetes.pod.uid')],
        container: [
          annotation('io.kubernetes.cri.container-name'),
          status?.containerName,
          label('io.kubernetes.container.name'),
        ],
        containerId: [config?.id, status?.id],
        sandboxId: [annotation('io.kubernetes.cri.sandbox-id')],
        attempt,
      }
    case 'cri-o': {
      const metadata = crioMetadata(annotation('io.kubernetes.cri-o.Metadata'), onProblem)
      return {
        namespace: [annotation('io.kubernetes.pod.namespace')],
        pod: [annotation('io.kubernetes.pod.name')],
        podUid: [annotation('io.kubernetes.pod.uid')],
        container: [metadata.containerName, annotation('io.kubernetes.container.name')],
        containerId: [config?.id, annotation('io.kubernetes.cri-o.ContainerID')],
        sandboxId: [annotation('io.kubernetes.cri-o.SandboxID')],
        attempt: metadata.attempt ?? attempt,
      }
    }
    case 'podman':
      return { ...NOWHERE, container: [config?.name], containerId: [config?.id], sandboxId: [config?.pod] }
    case 'unknown':
      break
  }
  return { ...NOWHERE, containerId: [config?.id, status?.id] }
}

const NOWHERE: Places = {
  namespace: [],
  pod: [],
  podUid: [],
  container: [],
  containerId: [],
  sandboxId: [],
  attempt: undefined,
}

/** Parses the last part of `<container>_<pod>_<namespace>_<uid>_<attempt>`. */
function attemptInName(name: string | undefined): number | undefined {
  const found = /_[^_]+_[^_]+_[^_]+_(\d{1,9})$/.exec(name ?? '')
  return found === null ? undefined : Number(found[1])
}

/** Parses JSON in an annotation. If it is not valid, the label provides the container's name. */
function crioMetadata(text: string | undefined, onProblem: (problem: Problem) => void) {
  const metadata: { containerName?: string; attempt?: number } = {}
  if (text === undefined) return metadata
  try {
    readMetadata(new JsonReader(Buffer.from(text), 'annotation Metadata'), metadata)
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    onProblem({ ...error.problem, weight: 'note' })
  }
  return metadata
}
