'use strict'
// The AWS SDK for JavaScript 3 obeys AWS_ENDPOINT_URL by itself; version 2 does not, and is told when it is loaded.

const Module = require('module')

// Version 2 names these services otherwise than the variables do: elsewhere the name without underscores is the same.
const NAMES = { IOT_DATA_PLANE: 'iotdata', SFN: 'stepfunctions', CLOUDWATCH_LOGS: 'cloudwatchlogs', EVENTBRIDGE: 'eventbridge' }
const PREFIX = 'AWS_ENDPOINT_URL_'

function redirect (config) {
  const env = process.env
  if (env.AWS_ENDPOINT_URL && config.endpoint === undefined) {
    config.update({ endpoint: env.AWS_ENDPOINT_URL, s3ForcePathStyle: true })
  }
  for (const [key, endpoint] of Object.entries(env)) {
    if (!key.startsWith(PREFIX) || !endpoint) continue
    const name = key.slice(PREFIX.length)
    const service = NAMES[name] || name.toLowerCase().replace(/_/g, '')
    const path = service === 's3' ? { s3ForcePathStyle: true } : {}
    config.update({ [service]: { endpoint, ...path, ...config[service] } }, true)
  }
}

function install () {
  const load = Module._load
  const seen = new WeakSet()
  Module._load = function (request, ...rest) {
    const loaded = load.call(this, request, ...rest)
    // Every way into version 2 leads through its core, which holds the configuration that all clients begin with.
    if (/(^|[\\/])core(\.js)?$/.test(request) && loaded && loaded.config && loaded.Config && /^2\./.test(loaded.VERSION)) {
      if (!seen.has(loaded)) {
        seen.add(loaded)
        redirect(loaded.config)
      }
    }
    return loaded
  }
}

module.exports = { install }
