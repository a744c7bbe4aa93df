import { execFileSync } from 'node:child_process'
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'

const MIB = 1024 * 1024
const CHECKOUT = join(import.meta.dirname, '../..')
const BUILD_MS = 600_000

const descriptor = z.looseObject({ digest: z.string(), annotations: z.record(z.string(), z.string()).default({}) })
const index = z.looseObject({ manifests: z.array(descriptor) })
const manifest = z.looseObject({ config: descriptor, layers: z.array(descriptor) })
const imageConfig = z.looseObject({
  config: z.looseObject({ User: z.string(), Entrypoint: z.array(z.string()), Env: z.array(z.string()) }),
})
const lockFile = z.looseObject({ packages: z.record(z.string(), z.looseObject({ version: z.string().optional() })) })
const bill = z.looseObject({ components: z.array(z.looseObject({ name: z.string(), version: z.string() })) })

describe('the image', () => {
  const folder = mkdtempSync(join(tmpdir(), 'checkpoint-agent-image-'))
  const root = join(folder, 'root')
  const layers: string[][] = []
  let names: (string | undefined)[] = []
  let config: z.output<typeof imageConfig>['config']

  beforeAll(() => {
    const archive = join(folder, 'image.tar')
    execFileSync('make', ['--no-print-directory', 'image', `OUT=${archive}`], { cwd: CHECKOUT, stdio: 'inherit' })
    const layout = join(folder, 'layout')
    mkdirSync(layout)
    mkdirSync(root)
    execFileSync('tar', ['-xf', archive, '-C', layout])
    const blob = (digest: string) => join(layout, 'blobs', digest.replace(':', '/'))
    const [only, ...others] = index.parse(readJson(join(layout, 'index.json'))).manifests
    names = [only, ...others].map((each) => each?.annotations['org.opencontainers.image.ref.name'])
    const image = manifest.parse(readJson(blob(only?.digest ?? '')))
    config = imageConfig.parse(readJson(blob(image.config.digest))).config
    for (const { digest } of image.layers) {
      const list = execFileSync('tar', ['-tf', blob(digest)], { encoding: 'utf8', maxBuffer: 64 * MIB })
      layers.push(list.split('\n').filter((name) => name !== ''))
      execFileSync('tar', ['-xf', blob(digest), '-C', root])
    }
  }, BUILD_MS)

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it('has the name that the chart is tried with', () => {
    expect(names).toEqual(['localhost/checkpoint-agent:dev'])
  })

  it('runs the agent as root, and nothing else', () => {
    expect(config).toMatchObject({ User: '0:0', Entrypoint: ['node', '/app/dist/main.js'] })
    expect(config.Env.filter((line) => !/^(PATH|NODE_ENV)=/.test(line))).toEqual([])
  })

  it('is the program of Node.js and at most 60 MiB over its base', () => {
    const bytes = (files: readonly string[]) => files.reduce((sum, file) => sum + statSync(join(root, file)).size, 0)
    const node = join(root, 'nodejs/bin/node')
    const rest = bytes(ownFiles()) - statSync(node).size
    console.log(
      `the image over its base: ${(rest / MIB).toFixed(1)} MiB in ${ownFiles().length - 1} files, and ${(statSync(node).size / MIB).toFixed(1)} MiB of Node.js`,
    )
    expect(rest).toBeLessThan(60 * MIB)
    expect(ownFiles().filter((file) => /^nodejs\/(?:include|share)\//.test(file))).toEqual([])
  })

  it('has the Node.js that the lock file of tools/node pins, from no base image', () => {
    const { packages } = lockFile.parse(readJson(join(CHECKOUT, 'tools/node/package-lock.json')))
    expect(packages[`node_modules/node-linux-${process.arch}`]?.version).toBe(inImage('--version').trim().slice(1))
    expect(layers[0]?.filter((name) => /(?:^|\/)node$/.test(name))).toEqual([])
  })

  it('has no shell, and only /app, Node.js and a library of it beside its base', () => {
    expect(layers.flat().filter((name) => /(?:^|\/)(?:sh|bash|dash|ash|busybox|npm|npx|apt|dpkg)$/.test(name))).toEqual(
      [],
    )
    expect(
      layers
        .slice(1)
        .flat()
        .filter((name) => !/^(?:app|nodejs)\/|\/$|^usr\/lib\/[^/]+\/libatomic\.so\.1$/.test(name)),
    ).toEqual([])
  })

  it('says what is in it', () => {
    const listed = readFileSync(join(root, 'app/contents.txt'), 'utf8').trimEnd().split('\n')
    const found = ownFiles()
      .filter((file) => !['app/contents.txt', 'app/sbom.cdx.json'].includes(file))
      .map((file) => `${statSync(join(root, file)).size}\t/${file}`)
    expect(listed.toSorted()).toEqual(found.toSorted())
  })

  it('holds the packages of its bill of materials and no others', () => {
    const { components } = bill.parse(readJson(join(root, 'app/sbom.cdx.json')))
    const found = globSync(['app/node_modules/**/package.json', 'nodejs/package.json'], { cwd: root })
      .filter((file) => /(?:node_modules\/(?:@[^/]+\/)?[^/]+|^nodejs)\/package\.json$/.test(file))
      .map((file) => z.looseObject({ name: z.string(), version: z.string() }).parse(readJson(join(root, file))))
    expect(asText(found)).toEqual(asText(components))
    expect(globSync('app/node_modules/better-sqlite3/**/*.node', { cwd: root })).toHaveLength(1)
  })

  it('starts, and can load its native part', () => {
    expect(inImage('/app/dist/main.js', '--help')).toContain('Usage: checkpoint-agent')
    const query = `new (require('/app/node_modules/better-sqlite3'))(':memory:').prepare('select 6 * 7').pluck().get()`
    expect(inImage('--print', query)).toBe('42\n')
  })

  /** Those of every layer but the base's. */
  function ownFiles(): string[] {
    return layers
      .slice(1)
      .flat()
      .filter((name) => !name.endsWith('/'))
  }

  function inImage(...args: string[]): string {
    return execFileSync('chroot', [root, '/nodejs/bin/node', ...args], {
      encoding: 'utf8',
      env: { PATH: '/usr/sbin:/usr/bin' },
    })
  }
})

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'))
}

function asText(packages: readonly { readonly name: string; readonly version: string }[]): string[] {
  return packages.map(({ name, version }) => `${name}@${version}`).toSorted()
}
