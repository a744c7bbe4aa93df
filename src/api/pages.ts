/** The part of a page that all lists share. */
export interface Page<Item> {
  readonly items: readonly Item[]
  /** Absent on the last page. */
  readonly continue?: string | undefined
}

/** Yields pages until there is no next one. */
export async function* readPages<OnePage extends { readonly continue?: string | undefined }>(
  read: (token: string | undefined) => Promise<OnePage>,
): AsyncGenerator<OnePage> {
  let token: string | undefined
  do {
    const page = await read(token)
    yield page
    token = page.continue
  } while (token !== undefined)
}

/** Yields the items of all pages. */
export async function* readItems<Item>(read: (token: string | undefined) => Promise<Page<Item>>): AsyncGenerator<Item> {
  for await (const page of readPages(read)) yield* page.items
}
