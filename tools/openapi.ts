import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openApiDocument } from '../src/api/openapi.ts'

// Writes the OpenAPI document where readers and generators of clients find it without an agent.
const path = join(import.meta.dirname, '../docs/openapi.json')
writeFileSync(path, `${JSON.stringify(openApiDocument(), undefined, 2)}\n`)
