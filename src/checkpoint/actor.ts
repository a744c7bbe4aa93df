/** The author of an action: a caller of the API, or the agent itself. */
export interface Actor {
  readonly user: string
  readonly groups: readonly string[]
  readonly address?: string
  readonly requestId?: string
}
