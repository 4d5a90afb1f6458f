// A real identity provider, npm `oidc-provider`, that logs whoever it is told to in without a browser.
//
// It prints `{"issuer": …, "control": …}` and ends with its stdin. `control` takes one JSON command per POST:
//
//   {"do": "person", "id": "ann", "claims": {…}}     what the tokens of a user, or of a client by its id, say beside the standard claims
//   {"do": "resource", "uri": "…", "format": "opaque", "alg": "ES256", "seconds": 5}   what tokens for a resource are like
//   {"do": "login", "person", "client", "resource", "scope"}      a whole authorization code flow with PKCE: the token response
//   {"do": "machine", "client", "secret", "resource", "scope"}    client credentials: the token response
//   {"do": "rotate"}                                 signs with new keys from now on; the old ones stay published
//   {"do": "retire"}                                 publishes only the keys that sign now
//   {"do": "revoke", "token"}                        takes an opaque token back (RFC 7009)
//   {"do": "behave", "path": "/jwks", "as": "ok" | "down" | "hang"}
//   {"do": "asked", "path": "/jwks"}                 how often a path was asked for: {"count": …}
//   {"do": "ask"}                                    asks browsers who they are, by a form, instead of letting them in as `ann`
//   {"do": "keys"}                                   the public key that signs with RS256: {"kid", "pem", "jwk"}
//
// Every resource indicator is good, and so is every user.

import { createHash, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

// What the library says of its own set-up goes to the console.
for (const level of ['log', 'info', 'debug', 'warn']) console[level] = console.error;

const SCOPES = ['mcp', 'files.read', 'files.write'];
const CALLBACK = 'http://127.0.0.1/callback';
const CLIENTS = [
  // A public client of a person, and one of a machine.
  { client_id: 'desk', token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: [CALLBACK] },
  { client_id: 'robot', client_secret: 'robot-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
  // The gateway, when it introspects.
  { client_id: 'gateway', client_secret: 'gateway-secret', grant_types: [], redirect_uris: [], response_types: [] },
];

const people = new Map();
const resources = new Map();
const behaviours = new Map();
const asked = new Map();

/** One key for each algorithm, the first of which signs ID tokens. */
function newKeys() {
  const pairs = [
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['EdDSA', generateKeyPairSync('ed25519')],
  ];
  return pairs.map(([alg, { privateKey }]) => ({
    ...privateKey.export({ format: 'jwk' }),
    alg,
    use: 'sig',
    kid: randomBytes(6).toString('hex'),
  }));
}

const resourceOf = (uri) => resources.get(uri) ?? {};

function configuration(keys) {
  return {
    clients: CLIENTS,
    jwks: { keys },
    scopes: ['openid', 'offline_access', 'groups', ...SCOPES],
    // As most providers do, it says them where it is asked for the user, and not in the ID token.
    claims: { openid: ['sub'], groups: ['groups'] },
    cookies: { keys: ['of the tests'] },
    pkce: { required: () => true },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people.get(id) }) }),
    extraTokenClaims: (_, token) => people.get(token.accountId ?? token.clientId) ?? {},
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    // Whoever is logged in has consented to everything.
    loadExistingGrant: async (ctx) => {
      const { client, session, params, provider } = ctx.oidc;
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope(['openid', 'offline_access', 'groups', ...SCOPES].join(' '));
      for (const uri of [params.resource ?? []].flat()) grant.addResourceScope(uri, SCOPES.join(' '));
      await grant.save();
      return grant;
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, uri) => {
          const { format = 'jwt', alg = 'RS256', seconds = 600 } = resourceOf(uri);
          const jwt = format === 'jwt' ? { jwt: { sign: { alg } } } : {};
          return { scope: SCOPES.join(' '), audience: uri, accessTokenFormat: format, accessTokenTTL: seconds, ...jwt };
        },
      },
    },
  };
}

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

let keys = newKeys();
let provider;
let answer;

/** What the library stores in memory is shared by all providers of the process, so new keys are a new provider. */
function provide(published) {
  provider = new Provider(issuer, configuration(published));
  answer = provider.callback();
}
provide(keys);

let asks = false;
const FORM = `<!doctype html><html lang="en"><title>Identity provider</title><link rel="icon" href="data:,"><form method="post">
<label>Who are you? <input name="who" autofocus required></label> <button>Go on</button></form></html>`;

async function interact(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  let who = params.login_hint ?? 'ann';
  if (asks && request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/html' }).end(FORM);
    return;
  }
  if (asks) who = new URLSearchParams(String(Buffer.concat(await Array.fromAsync(request)))).get('who');
  await provider.interactionFinished(request, response, { login: { accountId: who }, consent: {} });
}

server.on('request', (request, response) => {
  const path = new URL(request.url, issuer).pathname;
  asked.set(path, (asked.get(path) ?? 0) + 1);
  switch (behaviours.get(path)) {
    case 'down':
      response.writeHead(503).end('away');
      return;
    case 'hang':
      return;
    default:
  }
  if (path.startsWith('/interaction/')) {
    interact(request, response).catch((error) => response.writeHead(500).end(String(error)));
    return;
  }
  if (path === '/reg' && request.method === 'POST') {
    register(request, response).catch((error) => response.writeHead(400).end(String(error)));
    return;
  }
  answer(request, response);
});

/** A client registers with the scopes of its first request. It may ask for more later, as with most providers. */
async function register(request, response) {
  const { scope, ...metadata } = JSON.parse(Buffer.concat(await Array.fromAsync(request)));
  request.body = metadata;
  await answer(request, response);
}

/** Follows an authorization request to the redirect, as a browser with cookies does. */
async function browse(url) {
  const jar = new Map();
  let next = url;
  for (let step = 0; step < 10; step += 1) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(next, { redirect: 'manual', headers: cookie ? { cookie } : {} });
    for (const set of response.headers.getSetCookie()) {
      const [name, value] = set.split(';')[0].split('=');
      jar.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`${response.status} at ${next}: ${await response.text()}`);
    next = new URL(location, next).href;
    if (next.startsWith(CALLBACK)) return new URL(next).searchParams;
  }
  throw new Error('too many redirects');
}

async function token(form, basic) {
  const headers = basic ? { authorization: `Basic ${Buffer.from(basic).toString('base64')}` } : {};
  const response = await fetch(`${issuer}/token`, { method: 'POST', headers, body: new URLSearchParams(form) });
  const said = await response.json();
  if (!response.ok) throw new Error(JSON.stringify(said));
  return said;
}

const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

const COMMANDS = {
  person: ({ id, claims }) => people.set(id, claims) && {},
  resource: ({ uri, ...how }) => resources.set(uri, how) && {},
  behave: ({ path, as }) => behaviours.set(path, as) && {},
  asked: ({ path }) => ({ count: asked.get(path) ?? 0 }),
  ask: () => {
    asks = true;
    return {};
  },
  keys: () => {
    const { kid, kty, n, e } = keys.find((key) => key.alg === 'RS256');
    const jwk = { kty, n, e };
    return { kid, jwk, pem: createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) };
  },
  rotate: () => {
    const old = keys;
    keys = newKeys();
    provide([...keys, ...old]);
    return {};
  },
  retire: () => provide(keys) ?? {},
  login: async ({ person = 'ann', client = 'desk', resource, scope = 'openid mcp' }) => {
    const verifier = randomBytes(32).toString('base64url');
    const query = given({
      response_type: 'code',
      client_id: client,
      redirect_uri: CALLBACK,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      login_hint: person,
      resource,
      scope,
    });
    const back = await browse(`${issuer}/auth?${new URLSearchParams(query)}`);
    if (!back.get('code')) throw new Error(String(back));
    const form = { grant_type: 'authorization_code', code: back.get('code'), redirect_uri: CALLBACK, code_verifier: verifier };
    return token(given({ ...form, client_id: client, resource }));
  },
  machine: ({ client = 'robot', secret = 'robot-secret', resource, scope = 'mcp' }) =>
    token(given({ grant_type: 'client_credentials', resource, scope }), `${client}:${secret}`),
  revoke: async ({ token: taken }) => {
    const { status } = await fetch(`${issuer}/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ token: taken, client_id: 'desk' }),
    });
    return { status };
  },
};

const control = createServer(async (request, response) => {
  const said = { status: 200 };
  try {
    const parts = await Array.fromAsync(request);
    const command = JSON.parse(Buffer.concat(parts));
    said.body = await COMMANDS[command.do](command);
  } catch (error) {
    said.status = 500;
    said.body = { error: String(error) };
  }
  response.writeHead(said.status, { 'content-type': 'application/json' }).end(JSON.stringify(said.body));
});
await new Promise((resolve) => control.listen(0, '127.0.0.1', resolve));
process.stdout.write(`${JSON.stringify({ issuer, control: `127.0.0.1:${control.address().port}` })}\n`);

process.stdin.on('end', () => process.exit(0)).resume();
