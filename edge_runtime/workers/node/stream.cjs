'use strict'
// Replies that are written piece by piece: `awslambda.streamifyResponse` and its stream.

const { Writable } = require('stream')
const client = require('./client.cjs')
const { STREAMING } = require('./load.cjs')

const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark')
const PRELUDE = 'application/vnd.awslambda.http-integration-response'

class ResponseStream extends Writable {
  constructor (id, highWaterMark) {
    super(highWaterMark ? { highWaterMark } : {})
    this.id = id
    this.contentType = 'application/octet-stream'
    this.prelude = null
    this.request = null
    this.answered = new Promise((resolve) => { this.onAnswer = resolve })
  }

  setContentType (type) {
    if (this.request) throw new Error('The content type cannot be set once writing has begun.')
    this.contentType = type
  }

  begin () {
    if (this.request) return
    this.request = client.stream(this.id, this.contentType, this.onAnswer)
    if (this.prelude !== null) {
      this.request.write(JSON.stringify(this.prelude))
      this.request.write(Buffer.alloc(8)) // what separates it from the body
    }
  }

  _write (chunk, _, done) {
    this.begin()
    this.request.write(chunk, done)
  }

  // Whether the open reply alone keeps the event loop going: without, a handler that never ends it can be told.
  hold (yes) {
    const apply = (socket) => (yes ? socket.ref() : socket.unref())
    if (!this.request) return
    if (this.request.socket) apply(this.request.socket)
    else this.request.once('socket', apply)
  }

  _final (done) {
    this.begin()
    this.hold(true)
    this.request.end(done)
  }

  // Ends the reply with an error. Resolves when the host has it.
  async breakOff (error) {
    if (!this.request) return client.fail(this.id, error)
    this.hold(true)
    this.request.addTrailers(client.trailers(error))
    this.request.end()
    return this.answered
  }
}

class HttpResponseStream {
  static from (stream, prelude) {
    stream.setContentType(PRELUDE)
    stream.prelude = prelude
    return stream
  }
}

function install () {
  globalThis.awslambda = {
    ...globalThis.awslambda,
    streamifyResponse (handler, options) {
      handler[STREAMING] = 'response'
      if (options && options.highWaterMark) handler[HIGH_WATER_MARK] = parseInt(options.highWaterMark, 10)
      return handler
    },
    HttpResponseStream
  }
}

module.exports = { ResponseStream, HIGH_WATER_MARK, install }
