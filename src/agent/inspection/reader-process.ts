import process from 'node:process'
import { collectWhenIdle } from '../../shared/idle-collection.ts'
import { lockDown } from './reader-lockdown.ts'
import { serveAgent } from './reader-service.ts'

// A process of its own (decision 15), with Node's permission model: whatever the bytes of an archive make of it, it can
// read the checkpoint directory and answer the agent, and nothing else. All that it needs is loaded by now.

const [, , directory = ''] = process.argv
const requests = process.stdin
const endSelf = () => process.exit()
collectWhenIdle()
lockDown(directory)
serveAgent({ directory, requests, endSelf })
