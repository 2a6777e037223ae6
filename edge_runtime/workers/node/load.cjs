'use strict'
// Finds the function that a handler text (`dir/file.export.nested`) names.

const fs = require('fs')
const path = require('path')
const { pathToFileURL } = require('url')
const { RuntimeFault } = require('./errors.cjs')

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming')

// The nearest package.json decides what a `.js` file is; beyond a node_modules folder is another package.
function isModuleScope (folder) {
  for (;;) {
    if (path.basename(folder) === 'node_modules') return false
    try {
      return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).type === 'module'
    } catch (error) {
      if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') return false
    }
    const above = path.dirname(folder)
    if (above === folder) return false
    folder = above
  }
}

function isFile (name) {
  try {
    return fs.statSync(name).isFile()
  } catch (_) {
    return false
  }
}

const importFile = (name) => import(pathToFileURL(name).href)

async function loadModule (root, folder, name) {
  const base = path.resolve(root, folder, name)
  if (isFile(base)) return require(base)
  if (isFile(base + '.js')) {
    return isModuleScope(path.dirname(base)) ? importFile(base + '.js') : require(base + '.js')
  }
  if (isFile(base + '.mjs')) return importFile(base + '.mjs')
  if (isFile(base + '.cjs')) return require(base + '.cjs')
  return require(require.resolve(name, { paths: [root, path.resolve(root, folder)] }))
}

async function loadUserModule (root, folder, name) {
  try {
    return await loadModule(root, folder, name)
  } catch (error) {
    if (error instanceof SyntaxError) throw wrapped('UserCodeSyntaxError', error)
    if (error && error.code === 'MODULE_NOT_FOUND') throw wrapped('ImportModuleError', error)
    throw error
  }
}

function wrapped (kind, error) {
  const fault = new RuntimeFault(kind, String(error))
  // Where the mistake is stands in the stack of the error itself.
  fault.stack = `${fault.name}: ${fault.message}\n${String(error.stack).split('\n').slice(1).join('\n')}`
  return fault
}

async function load (root, text) {
  if (text.includes('..')) {
    throw new RuntimeFault('MalformedHandlerName', `'${text}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`)
  }
  const last = path.basename(text)
  const match = /^([^.]*)\.(.*)$/.exec(last)
  if (!match) throw new RuntimeFault('MalformedHandlerName', 'Bad handler')
  const [, name, exported] = match
  const module = await loadUserModule(root, text.slice(0, text.length - last.length), name)
  const handler = exported.split('.').reduce((held, key) => held && held[key], module)
  if (!handler) throw new RuntimeFault('HandlerNotFound', `${text} is undefined or not exported`)
  if (typeof handler !== 'function') throw new RuntimeFault('HandlerNotFound', `${text} is not a function`)
  const streams = handler[STREAMING]
  if (streams !== undefined && streams !== 'response') {
    throw new RuntimeFault('MalformedStreamingHandler', 'Only response streaming is supported.')
  }
  return handler
}

module.exports = { load, STREAMING }
