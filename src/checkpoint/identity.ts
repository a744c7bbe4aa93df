/** Which container a checkpoint is of. Texts are readable ones (`shared/readable-text.ts`). */
export interface ContainerIdentity {
  readonly namespace: string
  readonly pod: string
  readonly podUid: string
  readonly container: string
  readonly containerId: string
}

/** How an identity is known: seen by us at capture, read from the archive, guessed from its file name, or not at all. */
export type IdentitySource = 'observed' | 'archive' | 'name' | 'unknown'
