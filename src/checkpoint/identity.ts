/**
 * The container that a checkpoint belongs to. All texts are safe to display
 * (`shared/readable-text.ts`).
 */
export interface ContainerIdentity {
  readonly namespace: string
  readonly pod: string
  readonly podUid: string
  readonly container: string
  readonly containerId: string
}

/**
 * Source of an identity: observed at capture, read from the archive, derived from its file name, or
 * unknown.
 */
export const IDENTITY_SOURCES = ['observed', 'archive', 'name', 'unknown'] as const

export type IdentitySource = (typeof IDENTITY_SOURCES)[number]
