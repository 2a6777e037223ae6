'use strict'
// What `console` writes: a line with the time, the request id and the level before the message, or an object in JSON.

const util = require('util')
const { isError, toReply, toText } = require('./errors.cjs')

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL']
const METHODS = { trace: 'TRACE', debug: 'DEBUG', log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' }

const current = { requestId: undefined, tenantId: undefined }
const asJson = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON'
const least = LEVELS.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase())

function write (line) {
  process.stdout.write(line + '\n')
}

// One entry is one line of the log: lines within it are joined by a carriage return.
function writeText (level, message) {
  write(`${new Date().toISOString()}\t${current.requestId}\t${level}\t${message}`.replace(/\n/g, '\r'))
}

function errorFields (error) {
  const { errorType, errorMessage, trace } = toReply(error)
  return { errorType, errorMessage, stackTrace: trace }
}

function writeJson (level, args) {
  const line = { timestamp: new Date().toISOString(), level, requestId: current.requestId }
  if (current.tenantId) line.tenantId = current.tenantId
  const replacer = (_, value) => (value instanceof Error ? errorFields(value) : value)
  if (args.length === 1) {
    try {
      const text = JSON.stringify({ ...line, message: args[0] }, replacer)
      if ('message' in JSON.parse(text)) return write(text)
    } catch (_) {} // a cycle, a BigInt: then as text
    return write(JSON.stringify({ ...line, message: util.format(args[0]) }))
  }
  line.message = util.format(...args)
  const error = args.find(isError)
  if (error) Object.assign(line, errorFields(error))
  write(JSON.stringify(line))
}

function emit (level, args) {
  if (LEVELS.indexOf(level) < least) return
  if (asJson) writeJson(level, args)
  else writeText(level, util.format(...args))
}

function patch () {
  for (const [method, level] of Object.entries(METHODS)) {
    console[method] = (...args) => emit(level, args)
  }
}

// The runtime's own word about an error of the handler.
function logError (what, error) {
  if (asJson) writeJson('ERROR', [what, error])
  else writeText('ERROR', `${what} \t${toText(error)}`)
}

module.exports = { current, patch, logError }
