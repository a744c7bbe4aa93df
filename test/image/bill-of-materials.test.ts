import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { billOfMaterials } from '../../tools/image/bill-of-materials.ts'
import { productionPackages } from '../../tools/image/production-packages.ts'

const LOCK = readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8')
const PRODUCT = { name: 'checkpoint-agent', version: '0.1.0', license: 'Apache-2.0' }

describe('productionPackages', () => {
  it('leaves out what only builds and tests', () => {
    const names = productionPackages(LOCK).map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['express', 'better-sqlite3', '@grpc/grpc-js']))
    expect(names.filter((name) => /^(?:vitest|typescript|oxlint|@types\/.*)$/.test(name))).toEqual([])
  })

  it('names a package within another by its own name', () => {
    const entries = { '': {}, 'node_modules/a/node_modules/@b/c': { version: '1.0.0' } }
    expect(productionPackages(JSON.stringify({ packages: entries }))).toMatchObject([
      { folder: 'node_modules/a/node_modules/@b/c', name: '@b/c', version: '1.0.0' },
    ])
  })
})

describe('billOfMaterials', () => {
  const packages = productionPackages(LOCK)
  const text = billOfMaterials(PRODUCT, packages)

  it('is CycloneDX with every package, its licence and its digest', () => {
    const { components } = JSON.parse(text) as { components: object[] }
    expect(JSON.parse(text)).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6' })
    expect(components).toHaveLength(packages.length)
    expect(components.filter((component) => !('hashes' in component && 'licenses' in component))).toEqual([])
    expect(components).toContainEqual(
      expect.objectContaining({ name: '@grpc/grpc-js', purl: expect.stringMatching(/^pkg:npm\/%40grpc\/grpc-js@1\./) }),
    )
  })

  it('is the same each time', () => {
    expect(billOfMaterials(PRODUCT, productionPackages(LOCK))).toBe(text)
  })
})
