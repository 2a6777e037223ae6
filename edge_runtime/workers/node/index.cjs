'use strict'
// The runtime of Node handlers: loads the handler, then takes one event after the other over the Runtime API.

const client = require('./client.cjs')
const { current, logError, patch } = require('./console.cjs')
const { RuntimeFault } = require('./errors.cjs')
const { invokeOnce } = require('./invoke.cjs')
const { load } = require('./load.cjs')

// As AWS's: what ended the process can be told from its status.
const REJECTED = 128
const UNCAUGHT = 129

// Reports what nobody has caught as the error of what runs now, and ends: the state of the process is not sound any more.
function end (what, error, status) {
  logError(what, error)
  const told = current.requestId ? client.fail(current.requestId, error) : client.failInit(error)
  const exit = () => process.exit(status)
  told.then(exit, exit)
}

process.on('uncaughtException', (error) => end('Uncaught Exception', error, UNCAUGHT))
process.on('unhandledRejection', (reason) => {
  const error = new RuntimeFault('UnhandledPromiseRejection', String(reason))
  error.reason = reason
  end('Unhandled Promise Rejection', error, REJECTED)
})

async function main () {
  patch()
  require('./stream.cjs').install()
  require('./sdk.cjs').install()
  let handler
  try {
    handler = await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER)
  } catch (error) {
    logError('Uncaught Exception', error)
    await client.failInit(error)
    process.exit(1)
  }
  for (;;) {
    await invokeOnce(handler)
  }
}

// Only the host itself can fail here: it has gone, or wants no more.
main().catch((error) => {
  process.stderr.write(`the runtime has lost its host: ${error && error.message}\n`)
  process.exit(1)
})
