import type { ProductionPackage } from './production-packages.ts'

interface Product {
  readonly name: string
  readonly version: string
  readonly license: string
}

/** CycloneDX 1.6. The same input gives the same text: no time, no random serial number. */
export function billOfMaterials(product: Product, packages: readonly ProductionPackage[]): string {
  const components = packages.map((each) => ({
    type: 'library',
    'bom-ref': `${purl(each)}#${each.folder}`,
    name: each.name,
    version: each.version,
    purl: purl(each),
    ...(each.license === undefined ? {} : { licenses: [{ expression: each.license }] }),
    ...(each.sha512 === undefined ? {} : { hashes: [{ alg: 'SHA-512', content: each.sha512 }] }),
  }))
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': product.name,
        name: product.name,
        version: product.version,
        licenses: [{ expression: product.license }],
      },
    },
    components,
    dependencies: [{ ref: product.name, dependsOn: components.map((component) => component['bom-ref']) }],
  }
  return `${JSON.stringify(document, undefined, 1)}\n`
}

function purl({ name, version }: ProductionPackage): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`
}
