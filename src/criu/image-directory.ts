/** Where images come from: by name, whole, as many of them as were asked for. This folder knows no tar. */
export interface ImageDirectory {
  /** The bytes of `pstree.img` and the like; undefined where there is none. */
  readonly read: (name: string) => Buffer | undefined
}
