import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { loadPolicy } from '../../src/config/load-config.ts'
import { PolicyFile } from '../../src/config/policy-file.ts'
import { SHIPPED_POLICY, type Policy } from '../../src/retention/policy.ts'
import { temporaryFolder } from '../http/temporary-folder.ts'

const FIRST = 'log: { level: info }\nretention: { rules: [ { maxCount: 3 } ] }\n'
const SECOND = 'retention:\n  rules:\n    - match: { namespace: shop }\n      keepLast: 2\n      maxAge: 14d\n'

function watch(path: string, inForce = loadPolicy(path, (file) => readFileSync(file, 'utf8')) ?? SHIPPED_POLICY) {
  const policies: Policy[] = []
  const mistakes: (readonly string[])[] = []
  const file = new PolicyFile({
    path,
    policy: inForce,
    intervalMs: 20,
    onPolicy: (policy) => policies.push(policy),
    onMistakes: (found) => mistakes.push(found),
  })
  onTestFinished(() => file.stop())
  return { policies, mistakes }
}

describe('the policy of a file', () => {
  it('is read again when the file is written anew', async () => {
    const path = join(temporaryFolder(), 'agent.yaml')
    writeFileSync(path, FIRST)
    const { policies, mistakes } = watch(path)
    writeFileSync(path, SECOND)
    await expect
      .poll(() => policies.at(-1)?.rules.map(({ name }) => name))
      .toEqual(['rule 1: namespace shop', 'default'])
    expect(mistakes).toEqual([])
  })

  it('is read again when links lead to another file, as those of a ConfigMap do', async () => {
    const folder = temporaryFolder()
    for (const [version, text] of Object.entries({ one: FIRST, two: SECOND })) {
      mkdirSync(join(folder, version))
      writeFileSync(join(folder, version, 'agent.yaml'), text)
    }
    symlinkSync('one', join(folder, '..data'))
    symlinkSync('..data/agent.yaml', join(folder, 'agent.yaml'))
    const { policies } = watch(join(folder, 'agent.yaml'))
    symlinkSync('two', join(folder, '..data_tmp'))
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
    await expect.poll(() => policies.length).toBe(1)
  })

  it('stays as it was when there is a mistake, which is said with key, value and file', async () => {
    const path = join(temporaryFolder(), 'agent.yaml')
    writeFileSync(path, FIRST)
    const { policies, mistakes } = watch(path)
    writeFileSync(path, 'retention: { rules: [ { maxCount: none } ] }')
    await expect
      .poll(() => mistakes)
      .toEqual([[`retention.rules[0].maxCount: it must be a whole number (got "none") in ${path}`]])
    writeFileSync(path, 'retention: [')
    await expect.poll(() => mistakes.length).toBe(2)
    rmSync(path)
    await expect.poll(() => mistakes.length).toBe(3)
    expect(policies).toEqual([])
    writeFileSync(path, SECOND)
    await expect.poll(() => policies.length).toBe(1)
  })
})

describe('a file that says less than before', () => {
  const KEEPS = 'retention: { rules: [ { keepLast: 3 } ] }\n'

  it.each([
    { what: 'nothing', text: '' },
    { what: 'nothing of retention', text: 'log: { level: info }\n' },
  ])('leaves what was written before in force: $what', async ({ text }) => {
    const path = join(temporaryFolder(), 'agent.yaml')
    writeFileSync(path, KEEPS)
    const { policies, mistakes } = watch(path)
    writeFileSync(path, text)
    await expect.poll(() => mistakes).toEqual([[expect.stringContaining('it is gone from')]])
    expect(policies).toEqual([])
    // The same as before: whoever was told of the mistake must hear that it is over.
    writeFileSync(path, KEEPS)
    await expect.poll(() => policies.length).toBe(1)
  })

  it('is not read while somebody writes it', async () => {
    const path = join(temporaryFolder(), 'agent.yaml')
    writeFileSync(path, KEEPS)
    const policies: Policy[] = []
    const heard: string[] = []
    const file = new PolicyFile({
      path,
      policy: loadPolicy(path, () => KEEPS) ?? SHIPPED_POLICY,
      intervalMs: 3_600_000,
      onPolicy: (policy) => policies.push(policy),
      onMistakes: (found) => heard.push(...found),
    })
    onTestFinished(() => file.stop())
    for (const text of ['', 'retention:\n', 'retention:\n  rules:\n', SECOND]) {
      writeFileSync(path, text)
      file.look()
    }
    expect({ policies, heard }).toEqual({ policies: [], heard: [] })
    file.look()
    expect(policies.map(({ rules }) => rules.length)).toEqual([2])
  })
})

describe('a file that changed before anybody looked', () => {
  it('is found out by its policy', async () => {
    const path = join(temporaryFolder(), 'agent.yaml')
    writeFileSync(path, SECOND)
    const { policies } = watch(
      path,
      loadPolicy(path, () => FIRST),
    )
    await expect.poll(() => policies.map(({ rules }) => rules[0]?.keeps)).toEqual([{ last: 2 }])
  })

  it('and nothing is told where it did not', async () => {
    const path = join(temporaryFolder(), 'agent.yaml')
    writeFileSync(path, FIRST)
    const { policies, mistakes } = watch(path)
    writeFileSync(path, `# Only a word more\n${FIRST}`)
    const other = watch(path, SHIPPED_POLICY)
    await expect.poll(() => other.policies.length).toBe(1)
    expect({ policies, mistakes }).toEqual({ policies: [], mistakes: [] })
  })
})

describe('loadPolicy', () => {
  it('takes names as they are written, also those of digits', () => {
    const text = 'a: &n 007\nretention: { rules: [ { match: { namespace: 0123, pod: *n }, keepLast: 1 } ] }'
    expect(loadPolicy('x', () => text)?.rules[0]?.match).toEqual({ namespace: '0123', pod: '007' })
  })

  it('does not mind what else is wrong in the file', () => {
    expect(loadPolicy('x', () => `nonsense: 1\n${SECOND}`)?.rules).toHaveLength(2)
  })

  it('refuses a file of aliases that would grow without an end', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcdefghij'
        .split('')
        .map((name, at) => `${name}: &${name} [${Array(9).fill(`*${'abcdefghij'[at]}`).join(',')}]`),
    ]
    expect(() => loadPolicy('x', () => `${bomb.join('\n')}\nretention: { rules: [*j] }`)).toThrow(/alias|Excessive/i)
  })
})
