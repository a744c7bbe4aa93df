import process from 'node:process'
import { createInterface } from 'node:readline'
import { ApiServerClient } from '../../src/access/api-server-client.ts'
import { silentLogger } from '../../src/shared/logger.ts'

// Runs in the network of a node, where the API server can be reached: each line of its input is a request, each of its output an
// answer. `node api-server-relay.ts URL TOKEN_FILE CA_FILE`

const [url = '', tokenFile = '', caFile = ''] = process.argv.slice(2)
const client = new ApiServerClient({ url, tokenFile, caFile, logger: silentLogger })

for await (const line of createInterface(process.stdin)) {
  const { id, method, path, body } = JSON.parse(line) as {
    id: number
    method: 'GET' | 'POST'
    path: string
    body?: object
  }
  client.send(method, path, body).then(
    (value) => process.stdout.write(`${JSON.stringify({ id, value })}\n`),
    (error: unknown) => {
      const { message, status } = error as { message: string; status?: number }
      process.stdout.write(`${JSON.stringify({ id, error: { message, status } })}\n`)
    },
  )
}
client.close()
