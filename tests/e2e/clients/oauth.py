"""The person and the browser that an OAuth flow needs, without either, for both major versions of the library."""

from urllib.parse import parse_qs, urljoin, urlsplit

from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.shared.auth import OAuthClientMetadata

try:
    import httpx2 as httpx
    from mcp.client.auth import AuthorizationCodeResult
except ImportError:
    import httpx

    AuthorizationCodeResult = None

CALLBACK = "http://127.0.0.1/callback"
REDIRECTS_MAX = 10


class Storage:
    """What the library wants to have kept, in memory."""

    tokens, information = None, None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.information

    async def set_client_info(self, information):
        self.information = information


def query(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def browse(url):
    """Follows an authorization request to the redirect back, with cookies as a browser has them."""
    async with httpx.AsyncClient() as browser:
        for _ in range(REDIRECTS_MAX):
            response = await browser.get(url)
            if "location" not in response.headers:
                raise RuntimeError(f"{response.status_code} at {url}: {response.text}")
            url = urljoin(url, response.headers["location"])
            if url.startswith(CALLBACK):
                back = query(url)
                if "error" in back:
                    raise RuntimeError(f"refused: {back}")
                return back
    raise RuntimeError("too many redirects")


class Account:
    """One person at one client, or a client that acts for itself."""

    def __init__(self, url, wanted):
        self.storage, self.requests, self.back = Storage(), [], {}
        if "secret" in wanted:
            self.auth = ClientCredentialsOAuthProvider(
                url, self.storage, wanted["client"], wanted["secret"], issuer=wanted["issuer"]
            )
        else:
            metadata = OAuthClientMetadata(
                client_name="of the tests",
                redirect_uris=[CALLBACK],
                grant_types=["authorization_code", *(["refresh_token"] if wanted.get("refresh") else [])],
                token_endpoint_auth_method="none",
                application_type="native",
            )
            self.person = wanted["person"]
            self.auth = OAuthClientProvider(url, metadata, self.storage, self.redirect, self.callback)

    async def redirect(self, url):
        self.requests.append(query(url))
        self.back = await browse(f"{url}&login_hint={self.person}")

    async def callback(self):
        if AuthorizationCodeResult:
            return AuthorizationCodeResult(**{key: self.back.get(key) for key in ("code", "state", "iss")})
        return self.back["code"], self.back.get("state")

    def http(self):
        return httpx.AsyncClient(auth=self.auth, timeout=30)

    def seen(self):
        information, tokens = self.auth.context.client_info, self.storage.tokens
        return {
            "requests": self.requests,
            "client": information and information.client_id,
            "scope": tokens and tokens.scope,
        }
