import process from 'node:process'

/**
 * What an `import` of `node:http` would give, but for its price: that one reads whatever the module has, and so loads
 * Node's own fetch, which takes a twentieth of a second and some MB.
 */
export const { createServer, STATUS_CODES } = process.getBuiltinModule('node:http')
