// The person and the browser that an OAuth flow needs, without either: what a library wants to have kept is kept in
// memory, and where it would send a browser, the redirects are followed here.

const CALLBACK = 'http://127.0.0.1/callback';
const REDIRECTS_MAX = 10;

/** Follows an authorization request to the redirect back, with cookies as a browser has them. */
async function browse(url) {
  const jar = new Map();
  let next = String(url);
  for (let step = 0; step < REDIRECTS_MAX; step += 1) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(next, { redirect: 'manual', headers: cookie ? { cookie } : {} });
    for (const set of response.headers.getSetCookie()) {
      const [name, value] = set.split(';')[0].split('=');
      jar.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`${response.status} at ${next}: ${await response.text()}`);
    next = new URL(location, next).href;
    if (next.startsWith(CALLBACK)) {
      const back = new URL(next).searchParams;
      if (back.has('error')) throw new Error(`refused: ${back}`);
      return back;
    }
  }
  throw new Error('too many redirects');
}

/** What both TypeScript libraries call an `OAuthClientProvider`: one person at one client. */
export class Account {
  constructor({ person, refresh = false }) {
    this.person = person;
    this.refresh = refresh;
    this.requests = [];
  }

  get redirectUrl() {
    return CALLBACK;
  }

  get clientMetadata() {
    return {
      client_name: 'of the tests',
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', ...(this.refresh ? ['refresh_token'] : [])],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
    };
  }

  clientInformation() {
    return this.information;
  }

  saveClientInformation(information) {
    this.information = information;
  }

  tokens() {
    return this.kept;
  }

  saveTokens(tokens) {
    this.kept = tokens;
  }

  codeVerifier() {
    return this.verifier;
  }

  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }

  async redirectToAuthorization(url) {
    this.requests.push(Object.fromEntries(url.searchParams));
    url.searchParams.set('login_hint', this.person);
    this.back = await browse(url);
  }

  saveDiscoveryState(state) {
    this.discovered = state;
  }

  discoveryState() {
    return this.discovered;
  }

  /** What a test may want to see of the flow: each authorization request, and who the client became. */
  seen() {
    return { requests: this.requests, client: this.information?.client_id, scope: this.kept?.scope };
  }
}

/** Does something, and once more after the person has been to the authorization server, if that is what it takes. */
export async function authorized(account, finish, act) {
  try {
    return await act();
  } catch (error) {
    if (!account?.back || !/unauthorized/i.test(`${error?.name} ${error?.constructor?.name} ${error?.message}`)) throw error;
    const back = account.back;
    account.back = undefined;
    await finish(back);
    return authorized(account, finish, act);
  }
}

/** Who a job wants to be: a person at a client that registers itself, a client that acts for itself, or nobody. */
export function accountOf(wanted, ClientCredentialsProvider) {
  if (!wanted) return undefined;
  if (!wanted.secret) return new Account(wanted);
  // Without a scope of its own this client asks for none, whatever it is told to ask for.
  const { client: clientId, secret: clientSecret, issuer: expectedIssuer, scope } = wanted;
  return new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer, scope });
}
