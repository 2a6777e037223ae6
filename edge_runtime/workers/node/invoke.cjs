'use strict'
// Runs the handler once, in whatever style it is written, and reports the first thing that it completes with.

const { types } = require('util')
const client = require('./client.cjs')
const { current, logError } = require('./console.cjs')
const { RuntimeFault } = require('./errors.cjs')
const { STREAMING } = require('./load.cjs')
const { ResponseStream, HIGH_WATER_MARK } = require('./stream.cjs')

const TWICE = 'Invocation has already been reported as done. Cannot call complete more than once per invocation.'
const TRACE = '_X_AMZN_TRACE_ID'

// What is done when the event loop has nothing left to do; nothing while no handler runs.
const whenEmpty = { act: null }
process.on('beforeExit', () => {
  const { act } = whenEmpty
  whenEmpty.act = null
  if (act) setImmediate(act)
})

const isThenable = (value) => Boolean(value) && typeof value.then === 'function'

function parsed (text) {
  return text === undefined ? undefined : JSON.parse(Buffer.from(text, 'latin1').toString())
}

function clientContextOf (text) {
  const given = parsed(text)
  // Greengrass's own SDK for Node wrote it with a capital letter.
  if (given && given.custom && !('Custom' in given)) Object.defineProperty(given, 'Custom', { value: given.custom })
  return given
}

function describe (context, headers) {
  const { env } = process
  // The wall clock of a device jumps; what is left is reckoned by the steady one.
  const left = Number(headers['lambda-runtime-deadline-ms']) - Date.now()
  const began = process.hrtime()
  return Object.assign(context, {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: clientContextOf(headers['lambda-runtime-client-context']),
    identity: parsed(headers['lambda-runtime-cognito-identity']),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    getRemainingTimeInMillis () {
      const [seconds, nanos] = process.hrtime(began)
      return Math.max(0, Math.floor(left - seconds * 1e3 - nanos / 1e6))
    }
  })
}

// Resolves when the host has been told what became of one invocation.
function runBuffered (handler, event, headers, id) {
  return new Promise((resolve, reject) => {
    let waits = true
    let completed = false
    const once = (act) => (...args) => {
      if (completed) return console.log(TWICE)
      completed = true
      whenEmpty.act = null
      act(...args)
    }
    const fail = (error) => {
      logError('Invoke Error', error)
      client.fail(id, error).then(resolve, reject)
    }
    const succeed = (result) => {
      let text
      try {
        text = JSON.stringify(result)
      } catch (_) {
        return fail(new Error('Unable to stringify response body'))
      }
      client.respond(id, text === undefined ? 'null' : text).then(resolve, reject)
    }
    const failed = (error) => error !== undefined && error !== null
    const done = once((error, result) => (failed(error) ? fail(error) : succeed(result)))
    const callback = once((error, result) => {
      if (failed(error)) fail(error)
      else if (waits) whenEmpty.act = () => succeed(result)
      else succeed(result)
    })
    const context = {
      get callbackWaitsForEmptyEventLoop () { return waits },
      set callbackWaitsForEmptyEventLoop (value) { waits = value },
      done,
      succeed: (result) => done(null, result),
      fail: (error) => done(failed(error) ? error : 'handled')
    }
    whenEmpty.act = () => {
      completed = true
      if (types.isAsyncFunction(handler)) {
        fail(new RuntimeFault('NodeJsExit', 'The event loop is empty, and the promise of the handler has not settled.'))
      } else {
        succeed(null)
      }
    }
    try {
      const result = handler(event(), describe(context, headers), callback)
      if (isThenable(result)) result.then(context.succeed, context.fail)
    } catch (error) {
      callback(failed(error) ? error : 'handled')
    }
  })
}

async function runStreaming (handler, event, headers, id) {
  const stream = new ResponseStream(id, handler[HIGH_WATER_MARK])
  const finished = new Promise((resolve, reject) => stream.on('finish', resolve).on('error', reject))
  finished.catch(() => {})
  // What is piped into the stream may go on when the handler has returned.
  const settled = new Promise((resolve) => { whenEmpty.act = resolve })
  try {
    const result = handler(event(), stream, describe({ callbackWaitsForEmptyEventLoop: true }, headers))
    if (!isThenable(result)) throw new Error('Streaming does not support non-async handlers.')
    const over = result.then(() => 'returned')
    if (await Promise.race([over, settled]) !== 'returned') {
      throw new RuntimeFault('NodeJsExit', 'The event loop is empty, and the promise of the handler has not settled.')
    }
    if (!stream.writableEnded) stream.hold(false)
    await Promise.race([finished, settled])
    whenEmpty.act = null
    if (!stream.writableEnded) stream.end()
    await finished
    await stream.answered
  } catch (error) {
    whenEmpty.act = null
    logError('Invoke Error', error)
    await stream.breakOff(error)
  }
}

async function invokeOnce (handler) {
  const { headers, body } = await client.next()
  const id = headers['lambda-runtime-aws-request-id']
  current.requestId = id
  current.tenantId = headers['lambda-runtime-aws-tenant-id']
  const trace = headers['lambda-runtime-trace-id']
  if (trace) process.env[TRACE] = trace
  else delete process.env[TRACE]
  const isJson = (headers['content-type'] || '').startsWith('application/json')
  const event = () => (isJson ? JSON.parse(body.toString()) : body)
  const run = handler[STREAMING] ? runStreaming : runBuffered
  await run(handler, event, headers, id)
}

module.exports = { invokeOnce }
