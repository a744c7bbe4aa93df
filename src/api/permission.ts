import type { Verb } from '../shared/rbac-verb.ts'

/** The permission that a caller of an operation needs. */
export type Permission =
  /** No credentials needed. */
  | { readonly kind: 'open' }
  | { readonly kind: 'authenticated' }
  /** The kubelet's own permission, checked in `kubelet-access.ts`. */
  | { readonly kind: 'kubelet' }
  /** On the checkpoint that `{id}` names in the path; `content` is a separate permission. */
  | { readonly kind: 'checkpoint'; readonly verb: Verb; readonly content?: boolean }
  /** On the namespace of the job that `{id}` names in the path. */
  | { readonly kind: 'job'; readonly verb: Verb }
  /** Checked for each row: rows of namespaces without the permission are left out. */
  | { readonly kind: 'rows'; readonly verb: Verb }
  /** On the namespace that the body names. */
  | { readonly kind: 'target'; readonly verb: Verb }
  /** On this node as a whole; checked again during a long answer. */
  | {
      readonly kind: 'node'
      readonly verb: Verb
      readonly subresource: 'retention' | 'custody'
      readonly isLong?: boolean
    }
  | { readonly kind: 'metrics' }
