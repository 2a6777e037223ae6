'use strict'
// Speaks the Lambda Runtime API: one request at a time, over one connection that is kept.

const http = require('http')
const { toReply } = require('./errors.cjs')

const [hostname, port] = (process.env.AWS_LAMBDA_RUNTIME_API || '').split(':')
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
const BASE = '/2018-06-01/runtime/'

function begin (method, path, headers, done) {
  const options = { hostname, port, agent, method, path: BASE + path, headers }
  const request = http.request(options, (response) => {
    const parts = []
    response.on('data', (part) => parts.push(part))
    response.on('end', () => done(null, response, Buffer.concat(parts)))
    response.on('error', done)
  })
  request.setNoDelay(true)
  request.on('error', done)
  return request
}

function call (method, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const all = body === undefined ? headers : { ...headers, 'Content-Length': Buffer.byteLength(body) }
    const request = begin(method, path, all, (error, response, data) => {
      if (error) reject(error)
      else resolve({ status: response.statusCode, headers: response.headers, body: data })
    })
    request.end(body)
  })
}

const asJson = { 'Content-Type': 'application/json' }

function failureHeaders (fault) {
  return { ...asJson, 'Lambda-Runtime-Function-Error-Type': encodeURIComponent(fault.errorType).slice(0, 300) }
}

const next = () => call('GET', 'invocation/next')
const respond = (id, text) => call('POST', `invocation/${id}/response`, text, asJson)

function fail (id, error) {
  const fault = toReply(error)
  return call('POST', `invocation/${id}/error`, JSON.stringify(fault), failureHeaders(fault))
}

function failInit (error) {
  const fault = toReply(error)
  return call('POST', 'init/error', JSON.stringify(fault), failureHeaders(fault))
}

// Returns a request that is sent in chunks; `done` is called when the host has answered, with an error if it did not.
function stream (id, contentType, done) {
  const request = begin('POST', `invocation/${id}/response`, {
    'Content-Type': contentType,
    'Lambda-Runtime-Function-Response-Mode': 'streaming',
    'Transfer-Encoding': 'chunked',
    Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body'
  }, (error) => done(error || null))
  return request
}

function trailers (error) {
  const fault = toReply(error)
  return {
    'Lambda-Runtime-Function-Error-Type': encodeURIComponent(fault.errorType).slice(0, 300),
    'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(fault)).toString('base64')
  }
}

module.exports = { next, respond, fail, failInit, stream, trailers }
