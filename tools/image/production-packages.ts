/** What of an entry of package-lock.json is used here. */
interface LockEntry {
  readonly version?: string
  readonly dev?: boolean
  readonly license?: string
  readonly integrity?: string
}

export interface ProductionPackage {
  /** `node_modules/…`, from the folder of the lock file. */
  readonly folder: string
  readonly name: string
  readonly version: string
  readonly license: string | undefined
  readonly sha512: string | undefined
}

/** The packages that the agent runs with, from the text of package-lock.json. Types are no program. */
export function productionPackages(lockText: string): ProductionPackage[] {
  const { packages } = JSON.parse(lockText) as { packages: Record<string, LockEntry> }
  return Object.entries(packages)
    .filter(([folder, { dev }]) => folder !== '' && dev !== true)
    .map(([folder, { version = '', license, integrity }]) => ({
      folder,
      name: folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version,
      license,
      sha512: toHex(integrity),
    }))
    .filter(({ name }) => !name.startsWith('@types/'))
}

function toHex(integrity: string | undefined): string | undefined {
  const [, base64] = /^sha512-(\S+)$/.exec(integrity ?? '') ?? []
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString('hex')
}
