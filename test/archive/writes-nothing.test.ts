import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

/** What the readers of untrusted bytes may take from Node: nothing that writes, starts or sends. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'node:buffer': ['isAscii', 'isUtf8'],
  'node:fs': ['readSync'],
  'node:fs/promises': ['type FileHandle'],
  'node:stream': ['Readable', 'type Transform'],
  'node:zlib': ['constants', 'crc32', 'createInflateRaw', 'createZstdDecompress'],
}

it.each(['archive', 'criu'])('src/%s can read, and nothing else', (folder) => {
  const root = join(import.meta.dirname, '../../src', folder)
  const wrong = readdirSync(root).flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8')
    expect(text).not.toMatch(/\b(?:import|require)\(/)
    return [...text.matchAll(/^import (type )?\{([^}]*)\} from '(node:[^']*)'/gm)].flatMap(
      ([, isType, names, module]) =>
        (names ?? '')
          .split(',')
          .map((name) => `${isType ?? ''}${name.trim()}`)
          .filter((name) => name !== '' && !(ALLOWED[module ?? ''] ?? []).includes(name))
          .map((name) => `${file} takes ${name} from ${module}`),
    )
  })
  expect(wrong).toEqual([])
})
