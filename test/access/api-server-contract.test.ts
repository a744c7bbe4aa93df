import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { ApiServerClient } from '../../src/access/api-server-client.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { describeApiServer, NODE_VIEWER, TAKER } from '../support/api-server-contract.ts'
import { authoritiesOf, TestApiServer } from '../support/api-server.ts'
import { TestAuthority } from '../support/certificate-maker.ts'

describeApiServer('our own API server', async () => {
  const server = await TestApiServer.start()
  const strangerFile = join(server.folder, 'stranger')
  writeFileSync(strangerFile, 'nobody')
  const client = (tokenFile: string) => new ApiServerClient({ ...server.api, tokenFile, logger: silentLogger })
  const [api, strangerApi] = [client(server.tokenFile), client(strangerFile)]
  onTestFinished(async () => {
    api.close()
    strangerApi.close()
    await server[Symbol.asyncDispose]()
  })
  const authority = await TestAuthority.make()
  server.configMap = authoritiesOf(authority, authority)
  server.grants.push(
    {
      to: TAKER.user,
      namespace: 'shop',
      verbs: ['get', 'list', 'create'],
      resources: ['checkpoints'],
    },
    { to: TAKER.user, namespace: 'shop', verbs: ['get'], resources: ['checkpoints/proxy'] },
    { to: NODE_VIEWER.user, verbs: ['get'], resources: ['checkpointnodes/checkpoints'], names: ['node-a'] },
    { to: NODE_VIEWER.user, verbs: ['create'], groups: [''], resources: ['nodes/checkpoint'] },
  )
  return {
    api,
    strangerApi,
    token: async (...audiences) => {
      const token = `token-for-${audiences.join('-')}`
      const { user: username, groups } = TAKER
      server.tokens.set(token, { username, groups, ...(audiences.length > 0 && { audiences }) })
      return token
    },
  }
})
