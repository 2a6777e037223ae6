'use strict'
// The shapes of errors, and the errors that are the runtime's own.

const util = require('util')

class RuntimeFault extends Error {
  constructor (kind, reason) {
    super(reason)
    this.name = `Runtime.${kind}`
  }
}

// Also what another realm made, or an old style constructor: whatever has the parts of an error.
function isError (value) {
  return util.types.isNativeError(value) || (
    value !== null && typeof value === 'object' && 'name' in value && 'message' in value && 'stack' in value)
}

function clean (text) {
  return String(text).replace(/\x7f/g, '%7F')
}

// What the caller gets.
function toReply (error) {
  try {
    if (isError(error)) {
      return { errorType: clean(error.name), errorMessage: clean(error.message), trace: clean(error.stack).split('\n') }
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] }
  } catch (_) {
    return { errorType: 'handled', errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack', trace: [] }
  }
}

// What the log gets: with all the error's own properties.
function toLog (error) {
  if (!isError(error)) {
    const { errorType, errorMessage, trace } = toReply(error)
    return { errorType, errorMessage, stack: trace }
  }
  const shown = { errorType: error.name, errorMessage: error.message, code: error.code, ...error }
  shown.stack = typeof error.stack === 'string' ? error.stack.split('\n') : error.stack
  return shown
}

function toText (error) {
  try {
    return JSON.stringify(toLog(error), (_, value) => (value instanceof Error ? toLog(value) : value))
  } catch (_) {
    return JSON.stringify(toReply(error))
  }
}

module.exports = { RuntimeFault, isError, toReply, toLog, toText }
