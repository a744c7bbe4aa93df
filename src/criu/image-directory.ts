/** Provides whole images by name, independently of the archive format. */
export interface ImageDirectory {
  /** Returns the content of an image such as `pstree.img`; undefined if it is missing. */
  readonly read: (name: string) => Buffer | undefined
}
