/** The engines whose archives are recognized, and `unknown` for an archive that names none of them. */
export const ENGINES = ['containerd', 'cri-o', 'podman', 'unknown'] as const

/** The engine that wrote an archive. */
export type Engine = (typeof ENGINES)[number]
