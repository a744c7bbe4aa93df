/** Which container a checkpoint is of. Texts are readable ones (`shared/readable-text.ts`). */
export interface ContainerIdentity {
  readonly namespace: string
  readonly pod: string
  readonly podUid: string
  readonly container: string
  readonly containerId: string
}

/** How an identity is known: seen by us at capture, read from the archive, guessed from its file name, or not at all. */
export const IDENTITY_SOURCES = ['observed', 'archive', 'name', 'unknown'] as const

export type IdentitySource = (typeof IDENTITY_SOURCES)[number]
