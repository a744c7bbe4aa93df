import { jsonFields, jsonMapKeys, JsonReader } from './json-reader.ts'

/**
 * Fields of `spec.dump`, the OCI specification of the container: the annotations that identify it.
 */
export interface SpecDump {
  readonly annotations: ReadonlyMap<string, string>
  /** True if there is an annotation of containerd's CRI plugin. */
  readonly hasContainerdKey: boolean
}

/** Parses `spec.dump`. Throws a ProblemError if an engine did not write it. */
export function readSpecDump(bytes: Buffer): SpecDump {
  const annotations = new Map<string, string>()
  let hasContainerdKey = false
  const onKey = (key: string) => {
    // The dot is significant: `io.kubernetes.cri-o.` belongs to CRI-O, and older Podman versions
    // write it too.
    if (key.startsWith('io.kubernetes.cri.')) hasContainerdKey = true
  }
  const reader = new JsonReader(bytes, 'spec.dump')
  reader.readDocument(FIELDS, () => {
    reader.readObject(
      ANNOTATIONS,
      (key) => {
        onKey(key)
        const value = LONG.has(key) ? reader.readLongText() : reader.readText()
        if (value !== undefined) annotations.set(key, value)
      },
      onKey,
    )
  })
  return { annotations, hasContainerdKey }
}

const FIELDS = jsonFields('annotations')

const ANNOTATIONS = jsonMapKeys(
  'io.container.manager',
  'io.kubernetes.container.name',
  'io.kubernetes.pod.name',
  'io.kubernetes.pod.namespace',
  'io.kubernetes.pod.uid',
  'io.kubernetes.cri.container-name',
  'io.kubernetes.cri.image-name',
  'io.kubernetes.cri.sandbox-id',
  'io.kubernetes.cri.sandbox-name',
  'io.kubernetes.cri.sandbox-namespace',
  'io.kubernetes.cri.sandbox-uid',
  'io.kubernetes.cri-o.ContainerID',
  'io.kubernetes.cri-o.Created',
  'io.kubernetes.cri-o.Image',
  'io.kubernetes.cri-o.ImageName',
  'io.kubernetes.cri-o.ImageRef',
  'io.kubernetes.cri-o.ImageRepoDigests',
  'io.kubernetes.cri-o.Metadata',
  'io.kubernetes.cri-o.RuntimeHandler',
  'io.kubernetes.cri-o.SandboxID',
)

/** Annotations that contain lists or documents. */
const LONG: ReadonlySet<string> = new Set(['io.kubernetes.cri-o.ImageRepoDigests', 'io.kubernetes.cri-o.Metadata'])
