import type { ContainerIdentity } from '../checkpoint/identity.ts'

/** An identity as the API shows it, and nothing that may be added to it inside the agent. */
export function toIdentity({ namespace, pod, podUid, container, containerId }: ContainerIdentity): ContainerIdentity {
  return { namespace, pod, podUid, container, containerId }
}
