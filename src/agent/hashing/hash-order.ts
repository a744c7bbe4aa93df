export interface HashRequest {
  /** Path in bytes because a name need not be UTF-8. */
  readonly path: Uint8Array
  readonly generation: string
}

/** Result of a request. `changed`: the file was replaced or is gone. `failed`: it could not be read to its end. */
export type HashAnswer =
  | { readonly kind: 'done'; readonly sha256: string }
  | { readonly kind: 'changed' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'failed'; readonly code: string }
