import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openAccess } from '../../src/access/access.ts'
import { GROUP, type Question } from '../../src/access/question.ts'
import { parseTokenFile } from '../../src/access/token-file.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

const FILE = `users:
  - name: ada
    groups: [ops]
    tokenSha256: ${sha256('adas-token')}
    namespaces: [shop]
    permissions: [list, get, create]
  - name: root
    tokenSha256: ${sha256('roots-token').toUpperCase()}
    namespaces: ["*"]
    permissions: [list, get, create, update, delete, content, retention, sweep, custody, metrics]
  - name: prometheus
    tokenSha256: ${sha256('metrics-token')}
    namespaces: []
    permissions: [metrics]
`

describe('the file of tokens', () => {
  it('that is not there is told of with the next step', async () => {
    const options = {
      mode: 'tokens',
      tokensFile: '/nonexistent/tokens',
      clock: systemClock,
      logger: silentLogger,
    } as const
    await expect(openAccess(options)).rejects.toMatchObject({
      code: 'FileUnreadable',
      message: 'Cannot read file of tokens "/nonexistent/tokens": there is no such file or directory (ENOENT)',
      hint: expect.stringContaining('the setting that names it') as string,
    })
  })

  it('says whose token it is', async () => {
    const { who } = await open()
    expect(await who('adas-token')).toEqual({ user: 'ada', groups: ['ops'] })
    expect(await who('roots-token')).toEqual({ user: 'root', groups: [] })
    expect(await who('another')).toBeUndefined()
    expect(await who(sha256('adas-token')), 'the digest is no token').toBeUndefined()
  })

  it.each<[string, Partial<Question>, string]>([
    ['list in a namespace', { verb: 'list' }, 'ada root'],
    ['watch', { verb: 'watch' }, 'ada root'],
    ['get', {}, 'ada root'],
    ['create', { verb: 'create' }, 'ada root'],
    ['delete', { verb: 'delete' }, 'root'],
    ['pin', { verb: 'update' }, 'root'],
    ['content', { subresource: 'proxy' }, 'root'],
    ['another namespace', { namespace: 'bank' }, 'root'],
    ['all namespaces', { namespace: '' }, 'root'],
    ['the whole node', { resource: 'checkpointnodes', subresource: 'checkpoints', namespace: '' }, 'root'],
    ["the node's content", { resource: 'checkpointnodes', subresource: 'proxy', namespace: '' }, 'root'],
    ['retention', { resource: 'checkpointnodes', subresource: 'retention' }, 'root'],
    ['custody', { resource: 'checkpointnodes', subresource: 'custody' }, 'root'],
    ['metrics', { group: '', resource: 'nodes', subresource: 'metrics' }, 'root prometheus'],
    ['another group', { group: 'apps' }, ''],
    ['another resource', { resource: 'constructor' }, ''],
    ['another verb', { verb: 'patch' }, ''],
  ])('%s: as it says', async (_, change, users) => {
    const { who, access } = await open()
    const question: Question = { verb: 'get', group: GROUP, resource: 'checkpoints', namespace: 'shop', ...change }
    const allowed: string[] = []
    for (const [name, token] of [
      ['ada', 'adas-token'],
      ['root', 'roots-token'],
      ['prometheus', 'metrics-token'],
    ] as const) {
      const principal = await who(token)
      if (principal && (await access.authorizer.decide(principal, question)).isAllowed) allowed.push(name)
    }
    expect(allowed.join(' ')).toBe(users)
  })

  it('follows changes, but not mistakes', async () => {
    const { path, access, who } = await open()
    const before = await who('adas-token')
    const question: Question = { verb: 'get', group: GROUP, resource: 'checkpoints', namespace: 'shop' }
    expect(before && (await access.authorizer.decide(before, question)).isAllowed).toBe(true)
    writeFileSync(path, FILE.replace('name: ada', 'name: system:ada'))
    await access.refresh()
    expect(await who('adas-token')).toMatchObject({ user: 'ada' })
    writeFileSync(path, 'users: []')
    await access.refresh()
    expect(await who('adas-token')).toBeUndefined()
    expect(before && (await access.authorizer.decide(before, question)).isAllowed).toBe(false)
  })

  it.each([
    ['users: {', /it is no YAML/],
    ['users: 5', /users must be array/],
    ['people: []', /it has unknown fields: people/],
    [FILE.replace('groups', 'group'), /users\.0 has unknown fields: group/],
    [FILE.replace('[shop]', '["shop/x"]'), /users\.0\.namespaces\.0 must be a namespace/],
    [FILE.replace('[metrics]', '[everything]'), /users\.2\.permissions\.0 must be one of list, get/],
    [FILE.replace('name: ada', 'name: system:masters'), /must not begin with "system:"/],
    [FILE.replace('[ops]', '[system:masters]'), /must not begin with "system:"/],
    [FILE.replace(sha256('adas-token'), 'adas-token'), /64 hexadecimal digits/],
    [FILE.replace(sha256('adas-token'), sha256('')), /that of an empty token/],
    [FILE.replace(sha256('adas-token'), sha256('roots-token')), /that of another user/],
    ['users: &a [*a]', /./],
  ])('refuses %#', (text, reason) => {
    expect(() => parseTokenFile(text, '/etc/tokens')).toThrow(reason)
  })
})

async function open() {
  const folder = mkdtempSync(join(tmpdir(), 'tokens-'))
  const path = join(folder, 'tokens.yaml')
  writeFileSync(path, FILE)
  const access = await openAccess({ mode: 'tokens', tokensFile: path, clock: systemClock, logger: silentLogger })
  onTestFinished(() => {
    access.stop()
    rmSync(folder, { recursive: true })
  })
  const who = async (token: string) => {
    const credentials = { authorization: `Bearer ${token}`, certificates: undefined, headers: {} }
    return (await access.authenticate(credentials))?.principal
  }
  return { path, access, who }
}
