/** Engines whose archives are recognized; `unknown` for all other archives. */
export const ENGINES = ['containerd', 'cri-o', 'podman', 'unknown'] as const

/** The engine that wrote an archive. */
export type Engine = (typeof ENGINES)[number]
