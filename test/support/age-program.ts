import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A key pair that protects nothing but the bytes of tests. */
export interface AgeIdentity {
  readonly recipient: string
  readonly secret: string
}

export const AGE_IDENTITIES: readonly AgeIdentity[] = [
  {
    recipient: 'age1ym30tj9dkhmgvkmz2vq894j4uvfqfjkxcl7hhxlwswmutz4p4cpqkzw4qr',
    secret: 'AGE-SECRET-KEY-10HWF22TNCTK4ZF3S4RSA83PV20VQFEC0A7D3KKZTC3LJWKZH3WCST87XLG',
  },
  {
    recipient: 'age1l4acy6lgvvd6xhqvwra5axkv5s36rm9g5q3e8rq0xyj9tw4p04jq62r25e',
    secret: 'AGE-SECRET-KEY-1R40KZQ0TEF8QUELH9XFVXR42KMNA9FFWNM0Q4NPP98CC95E0SUSQXJHT9Y',
  },
  {
    recipient: 'age1u9hhachm4dyykdt48leu36dpwrg4uhnpvw294s4sks9vmxa5jaxsh366qu',
    secret: 'AGE-SECRET-KEY-1ZR2R8QN8YWAAK56HX260ELFP0PF25YDFCM8AKAJM3H5YUL0RUMSSTX72LX',
  },
]

/** The program of the distribution: what it opens, everybody can open. */
export function hasAgeProgram(): boolean {
  try {
    execFileSync('age', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Throws where age does not open it. */
export function decryptWithAge(encrypted: Uint8Array, secret: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'age-'))
  try {
    writeFileSync(join(folder, 'key'), `${secret}\n`, { mode: 0o600 })
    return execFileSync('age', ['--decrypt', '--identity', join(folder, 'key')], {
      input: encrypted,
      maxBuffer: 2 ** 30,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
