import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { writeArchive } from './archive-builder.ts'
import { mulberry32 } from './random.ts'

/** Everybody else who works in a checkpoint directory, at random but the same for the same seed. */
export interface RandomWriters {
  /** Does this many things to the files of the directory. */
  act(times: number): void
  readonly counts: ReadonlyMap<string, number>
}

/** So many are made anew that most files are touched once or twice and not to pieces. */
const MADE_SHARE = 0.4
const MAKING = ['create', 'rename into place', 'link into place']

export interface RandomWritersOptions {
  readonly directory: string
  /** For models and drafts, on the same file system. */
  readonly outside: string
  readonly seed: number
  /** More than this many archives are not there at once. */
  readonly most: number
}

export function randomWriters({ directory, outside, seed, most }: RandomWritersOptions): RandomWriters {
  const random = mulberry32(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const counts = new Map<string, number>()
  const models = makeModels(outside)
  const decoy = join(outside, 'decoy.tar')
  copyFileSync(models[0] ?? '', decoy)
  let made = 0

  const model = () => models[below(models.length)] ?? ''
  const newPath = () => join(directory, `checkpoint-web-${(made += 1)}_shop-counter-2026-01-31T12:00:00Z.tar`)
  const present = () => readdirSync(directory).filter((name) => name.endsWith('.tar'))
  const anyPath = () => {
    const names = present()
    const name = names[below(names.length)]
    return name === undefined ? undefined : join(directory, name)
  }
  const draft = () => join(outside, `draft-${(made += 1)}.tar`)

  const create = () => {
    copyFileSync(model(), newPath())
  }
  const deeds: Readonly<Record<string, (path: string) => void>> = {
    create,
    'rename into place': () => {
      const path = draft()
      copyFileSync(model(), path)
      renameSync(path, newPath())
    },
    'link into place': () => {
      const path = draft()
      copyFileSync(model(), path)
      linkSync(path, newPath())
      rmSync(path)
    },
    'rename over': (path) => {
      const other = draft()
      copyFileSync(model(), other)
      renameSync(other, path)
    },
    rename: (path) => {
      renameSync(path, newPath())
    },
    'hide and show': (path) => {
      const hidden = join(directory, '.hidden')
      renameSync(path, hidden)
      renameSync(hidden, newPath())
    },
    'away and back': (path) => {
      const hidden = join(directory, '.hidden')
      renameSync(path, hidden)
      renameSync(hidden, path)
    },
    'open to others': (path) => {
      chmodSync(path, 0o644)
    },
    delete: (path) => {
      rmSync(path)
    },
    'overwrite in place': (path) => {
      const bytes = readFileSync(model())
      const file = openSync(path, 'r+')
      writeSync(file, bytes)
      closeSync(file)
    },
    'write anew': (path) => {
      writeFileSync(path, readFileSync(model()))
    },
    'write half': () => {
      const bytes = readFileSync(model())
      writeFileSync(newPath(), bytes.subarray(0, below(bytes.length)))
    },
    'cut off': (path) => {
      truncateSync(path, below(200_000))
    },
    'flip a byte': (path) => {
      const file = openSync(path, 'r+')
      writeSync(file, Buffer.of(below(256)), 0, 1, below(100_000))
      closeSync(file)
    },
    pin: (path) => {
      writeFileSync(`${path}.keep`, 'keep')
    },
    unpin: (path) => {
      rmSync(`${path}.keep`, { force: true })
    },
    'turn into a link': (path) => {
      rmSync(path)
      // Not to a model: who writes through the link would spoil it.
      symlinkSync(decoy, path)
    },
    'turn into a folder': (path) => {
      rmSync(path)
      mkdirSync(path)
    },
  }
  const names = Object.keys(deeds)

  return {
    counts,
    act(times) {
      for (let time = 0; time < times; time += 1) {
        const path = anyPath()
        const isCrowded = present().length >= most
        const mayMake = path === undefined || (!isCrowded && random() < MADE_SHARE)
        const choice = mayMake ? MAKING : isCrowded && random() < MADE_SHARE ? ['delete'] : names
        const name = path === undefined ? 'create' : (choice[below(choice.length)] ?? 'create')
        try {
          deeds[name]?.(path ?? '')
          counts.set(name, (counts.get(name) ?? 0) + 1)
        } catch (error) {
          // A folder or a link where an archive was: not everything can be done to it.
          if (path !== undefined) rmSync(path, { recursive: true, force: true })
          else throw error
        }
      }
    },
  }
}

function makeModels(outside: string): string[] {
  return ['small', 'large', 'cri-o'].map((name, index) => {
    const path = join(outside, `model-${name}.tar`)
    writeArchive(path, {
      namespace: 'shop',
      pod: 'web-1',
      container: 'counter',
      engine: name === 'cri-o' ? 'cri-o' : 'containerd',
      logLines: Array.from({ length: 1 + index * 2000 }, (_, line) => `tick ${line}`),
    })
    return path
  })
}
