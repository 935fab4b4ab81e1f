// Tries the auth service with oauth4webapi, a strict OAuth client that knows
// nothing of authbus. Reads what to use as JSON from stdin; whatever is not as the
// standards say ends it with an error.
import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import * as oauth from 'oauth4webapi'

const given = JSON.parse(await text(process.stdin))
const http = { [oauth.allowInsecureRequests]: true } // the test is on the loopback address
const client = { client_id: given.client_id }

const issuer = new URL(given.issuer)
const as = await oauth.processDiscoveryResponse(
  issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http }))
for (const endpoint of ['introspection', 'revocation']) {
  assert.deepEqual(as[`${endpoint}_endpoint_auth_methods_supported`], ['client_secret_basic', 'client_secret_post'])
}

const introspect = async (auth, token, hint) => oauth.processIntrospectionResponse(as, client,
  await oauth.introspectionRequest(as, client, auth, token, { ...http, additionalParameters: hint }))
const revoke = async (auth, token, hint) => oauth.processRevocationResponse(
  await oauth.revocationRequest(as, client, auth, token, { ...http, additionalParameters: hint }))

const methods = { basic: oauth.ClientSecretBasic, post: oauth.ClientSecretPost }
for (const [name, method] of Object.entries(methods)) {
  const { access, refresh, sub } = given.sessions[name]
  const auth = method(given.client_secret)

  await validateByJWKS(access, sub)
  const active = await introspect(auth, access, { token_type_hint: 'access_token' })
  assert.equal(active.active, true)
  assert.equal(active.sub, sub)
  assert.equal(active.iss, given.issuer)
  assert.equal(active.token_type, 'Bearer')
  assert.ok(active.aud.includes(given.audience))

  await revoke(auth, access, { token_type_hint: 'refresh_token' }) // a wrong hint
  assert.deepEqual(await introspect(auth, access), { active: false })
  await revoke(auth, access) // nothing is left to do

  assert.equal((await introspect(auth, refresh)).token_type, 'refresh_token')
  await revoke(auth, refresh, { token_type_hint: 'refresh_token' })
  assert.deepEqual(await introspect(auth, refresh, { token_type_hint: 'refresh_token' }), { active: false })

  await revoke(auth, 'nonsense')
  assert.deepEqual(await introspect(auth, 'nonsense'), { active: false })
  await refused(introspect(method('x_wrong'), access), oauth.WWWAuthenticateChallengeError, 401)
  await refused(revoke(method('x_wrong'), access), oauth.WWWAuthenticateChallengeError, 401)
  console.log(`${name}: active, revoked, inactive`)
}

// A service that the tokens are not meant for learns nothing and ends nothing.
const stranger = oauth.ClientSecretPost(given.stranger_secret)
client.client_id = 'stranger'
for (const token of given.others) {
  assert.deepEqual(await introspect(stranger, token), { active: false })
  const error = await refused(revoke(stranger, token), oauth.ResponseBodyError, 400)
  assert.equal(error.error, 'invalid_grant')
}
console.log('stranger: nothing')

// validateByJWKS holds the token against RFC 9068, with the keys that the metadata names.
async function validateByJWKS(access, sub) {
  const request = new Request('http://orders.example', { headers: { authorization: `Bearer ${access}` } })
  const claims = await oauth.validateJwtAccessToken(as, request, given.audience, http)
  assert.equal(claims.sub, sub)
}

// refused waits for the answer to be an error of the class with the status.
async function refused(answer, type, status) {
  const error = await answer.then(() => assert.fail('nothing was refused'), (e) => e)
  assert.ok(error instanceof type, `got ${error}`)
  assert.equal(error.status, status)
  return error
}
