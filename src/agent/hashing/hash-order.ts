export interface HashRequest {
  /** Bytes: a name need not be UTF-8. */
  readonly path: Uint8Array
  readonly generation: string
}

/** `changed`: the file is another one by now, or gone. `failed`: it could not be read to its end. */
export type HashAnswer =
  | { readonly kind: 'done'; readonly sha256: string }
  | { readonly kind: 'changed' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'failed'; readonly code: string }
