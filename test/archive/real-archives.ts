import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'

const FIXTURES = join(import.meta.dirname, '../fixtures/archives')
/** More of them lie beside the repository where the project is developed. */
const BESIDE = join(import.meta.dirname, '../../../shared/archives')

/** An archive as the engine wrote it; undefined where this machine does not have it. */
export function realArchive(name: string): Buffer | undefined {
  for (const folder of [FIXTURES, BESIDE]) {
    const packed = join(folder, `${name}.tar.gz`)
    if (existsSync(packed)) return gunzipSync(readFileSync(packed))
    const plain = join(folder, `${name}.tar`)
    if (existsSync(plain)) return readFileSync(plain)
  }
  return undefined
}

/** One that is among the fixtures. */
export function fixtureArchive(name: string): Buffer {
  const bytes = realArchive(name)
  if (bytes === undefined) throw new Error(`test/fixtures/archives has no ${name}`)
  return bytes
}

/** The tar inside, whatever it is packed with. */
export function unpacked(bytes: Buffer): Buffer {
  if (bytes[0] === 0x1f) return gunzipSync(bytes)
  return bytes[0] === 0x28 ? zstdDecompressSync(bytes) : bytes
}

/** What CRIU's own Python library reads in it. */
export interface ExpectedImages {
  readonly processes: readonly { readonly pid: number; readonly pagesFileSize: number }[]
  readonly stats: { readonly dump: Readonly<Record<string, number>> }
  readonly inventory: { readonly img_version: number; readonly dump_criu_run_id: string }
}

export function expectedImages(name: string): ExpectedImages | undefined {
  const path = [FIXTURES, BESIDE].map((folder) => join(folder, `${name}.expected.json`)).find(existsSync)
  return path === undefined ? undefined : (JSON.parse(readFileSync(path, 'utf8')) as ExpectedImages)
}
