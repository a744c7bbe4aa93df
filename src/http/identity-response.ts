import type { ContainerIdentity } from '../checkpoint/identity.ts'

/** Converts an identity for the API and drops any internal fields. */
export function toIdentity({ namespace, pod, podUid, container, containerId }: ContainerIdentity): ContainerIdentity {
  return { namespace, pod, podUid, container, containerId }
}
