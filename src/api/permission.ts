import type { Verb } from '../shared/rbac-verb.ts'

/** What a caller of an operation needs. */
export type Permission =
  /** Nothing at all, not even a name. */
  | { readonly kind: 'open' }
  | { readonly kind: 'authenticated' }
  /** The kubelet's own, asked in `kubelet-access.ts`. */
  | { readonly kind: 'kubelet' }
  /** On the checkpoint whose `{id}` is in the path; `content` is a permission of its own. */
  | { readonly kind: 'checkpoint'; readonly verb: Verb; readonly content?: boolean }
  /** On the namespace of the job whose `{id}` is in the path. */
  | { readonly kind: 'job'; readonly verb: Verb }
  /** Row by row: what belongs to namespaces without it is left out. */
  | { readonly kind: 'rows'; readonly verb: Verb }
  /** In the namespace that the body names. */
  | { readonly kind: 'target'; readonly verb: Verb }
  /** On this node as a whole; the answer of a long one is asked about again. */
  | {
      readonly kind: 'node'
      readonly verb: Verb
      readonly subresource: 'retention' | 'custody'
      readonly isLong?: boolean
    }
  | { readonly kind: 'metrics' }
