/** Who does something, as the custody log keeps it. */
export interface Actor {
  readonly user: string
  readonly groups: readonly string[]
  readonly address?: string
  readonly requestId?: string
}
