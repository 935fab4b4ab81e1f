"""The prototype of main.go in Python: takes a bearer token, has it verified, and
answers "token validated" with the user's id.

    prototype.py --mode remote     asks the auth service about every token (RFC 7662),
                                   as CLIENT_ID with CLIENT_SECRET from the environment
    prototype.py --mode local      verifies here, with the public keys of the JWKS

The two differ in what they know. Remote honours a logout with the next request, and
refuses with 503 while the auth service does not answer. Local goes on working without
the auth service for MAX_KEY_AGE, and LEARNS OF NO REVOCATION: after a logout, a forced
one too, it accepts the access token until that expires (10 minutes by default), and it
notices that a signing key was killed when it next fetches the keys (KEY_REFRESH). To
know revocations a local verifier must follow the feed of the bus as well and prove that
it is complete, as the Go package verifier does. This one does not. It is also only as
strict as PyJWT, which takes the last of two claims of the same name.

Needs Debian's python3-fastapi, python3-uvicorn, python3-httpx, and for local python3-jwt
and python3-cryptography.
"""

import argparse
import asyncio
import logging
import math
import os
import re
import socket
import time
from urllib.parse import quote_plus, urlsplit

import fastapi
import httpx
import jwt
import uvicorn
from fastapi.responses import JSONResponse

TIMEOUT = 2.0  # seconds for each question to the auth service
KEY_REFRESH = 60.0  # seconds after which the keys are fetched again
KEY_PAUSE = 2.0  # seconds between fetches, however many unknown keys are named
MAX_KEY_AGE = 600.0  # seconds after which keys that cannot be fetched are not used
ALGORITHMS = ("EdDSA", "ES256", "RS256")
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
MAX_TOKEN = 16 * 1024
log = logging.getLogger("prototype")


class Invalid(Exception):
    """The token is not good, for whatever reason."""


class Unavailable(Exception):
    """Whether the token is good cannot be decided now."""


def unanswered(why):
    """Tells whoever runs this service why; who called it learns no more than that."""
    log.warning("the auth service cannot be asked: %s", why)
    return Unavailable(why)


class Remote:
    """Asks the introspection endpoint about every token."""

    def __init__(self, args, http):
        self.args, self.http = args, http
        # RFC 6749 §2.3.1: both are form-encoded before they become Basic.
        self.auth = (quote_plus(os.environ["CLIENT_ID"]), quote_plus(os.environ["CLIENT_SECRET"]))

    async def start(self):
        """Has nothing to prepare."""

    async def verify(self, token):
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            question = self.http.post(self.args.introspection, data=form, auth=self.auth)
            answer = await asyncio.wait_for(question, TIMEOUT)
            if answer.status_code != 200:  # 401: it is this service that is not known there
                raise unanswered("it answered %d" % answer.status_code)
            claims = answer.json()
        except (httpx.HTTPError, asyncio.TimeoutError, ValueError) as e:
            raise unanswered(repr(e)) from e
        if not isinstance(claims, dict) or not isinstance(claims.get("active"), bool):
            raise unanswered("its answer is no introspection response")
        if not claims["active"]:
            raise Invalid("not active")
        if not isinstance(claims.get("sub"), str):
            raise unanswered("its answer names no user")
        # A refresh token is active too, and must not do for an access token.
        if claims.get("token_type") != "Bearer" or claims.get("iss") != self.args.issuer:
            raise Invalid("not an access token of ours")
        audiences = claims.get("aud")
        if self.args.audience not in (audiences if isinstance(audiences, list) else [audiences]):
            raise Invalid("not meant for this service")
        return claims


class Local:
    """Verifies with the keys of the JWKS document. It knows no revocations."""

    def __init__(self, args, http):
        self.args, self.http = args, http
        self.keys, self.fetched, self.tried = {}, -math.inf, -math.inf
        self.fetching = asyncio.Lock()

    async def start(self):
        try:
            await self.fetch()
        except Unavailable:
            pass  # it is asked again for the first token

    async def fetch(self):
        self.tried = time.monotonic()
        try:
            question = self.http.get(self.args.issuer + "/.well-known/jwks.json")
            answer = await asyncio.wait_for(question, TIMEOUT)
            answer.raise_for_status()
            keys = {k["kid"]: k for k in answer.json()["keys"] if k.get("alg") in ALGORITHMS}
            self.keys = {kid: (k["alg"], jwt.PyJWK(k).key) for kid, k in keys.items()}
        except (httpx.HTTPError, asyncio.TimeoutError, jwt.PyJWTError, KeyError, TypeError, ValueError) as e:
            raise unanswered(repr(e)) from e
        self.fetched = self.tried

    async def key(self, kid):
        """Returns algorithm and key, from a document that is not too old."""
        if kid in self.keys and time.monotonic() - self.fetched <= KEY_REFRESH:
            return self.keys[kid]  # whatever others wait for
        async with self.fetching:
            now = time.monotonic()
            wanted = kid not in self.keys or now - self.fetched > KEY_REFRESH
            if wanted and now - self.tried > KEY_PAUSE:
                try:
                    await self.fetch()
                except Unavailable:
                    pass  # the keys at hand do, until they are too old
            if now - self.fetched > MAX_KEY_AGE:
                raise Unavailable("the keys are too old")
            if kid in self.keys:
                return self.keys[kid]
            if self.fetched < now:
                raise Unavailable("the key may be a new one")
            raise Invalid("unknown key")

    async def verify(self, token):
        try:
            header = jwt.get_unverified_header(token)
            typ, kid = header.get("typ"), header.get("kid")
            if not isinstance(typ, str) or typ.lower() not in ("at+jwt", "application/at+jwt"):
                raise Invalid("not an access token")  # RFC 9068 §4
            if not isinstance(kid, str) or "crit" in header:
                raise Invalid("not a header that is understood")
            algorithm, key = await self.key(kid)
            claims = jwt.decode(
                token, key, algorithms=[algorithm], leeway=self.args.leeway,
                issuer=self.args.issuer, audience=self.args.audience,
                options={"require": ["iss", "aud", "exp", "iat", "sub", "jti"]},
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as e:
            raise Invalid("not valid") from e
        if not isinstance(claims["sub"], str):
            raise Invalid("nobody's token")
        return claims


def refuse(status, code, title, header, value):
    body = {"type": "about:blank", "title": title, "status": status, "code": code}
    headers = {header: value, "Cache-Control": "no-store"}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def application(verifier, http):
    app = fastapi.FastAPI(on_startup=[verifier.start], on_shutdown=[http.aclose])

    @app.get("/")
    async def hello(request: fastapi.Request):
        given = request.headers.getlist("authorization")
        if len(given) > 1:
            title = "more than one credential"
            return refuse(400, "invalid_request", title, "WWW-Authenticate", 'Bearer error="invalid_request"')
        scheme, _, token = "".join(given).partition(" ")
        if scheme.lower() != "bearer" or not token:
            return refuse(401, "not_authenticated", "not authenticated", "WWW-Authenticate", "Bearer")
        try:
            if len(token) > MAX_TOKEN or not COMPACT.fullmatch(token):
                raise Invalid("not a token")
            claims = await verifier.verify(token)
        except Invalid:
            challenge = 'Bearer error="invalid_token", error_description="please log in again"'
            return refuse(401, "invalid_token", "please log in again", "WWW-Authenticate", challenge)
        except Unavailable:
            return refuse(503, "unavailable", "cannot be decided now, try again", "Retry-After", "1")
        return {"message": "token validated", "sub": claims["sub"]}

    return app


def url(text):
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or text.strip() != text:
        raise argparse.ArgumentTypeError("must be an http or https URL")
    return text


def address(text):
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError("must be host:port")
    return host, int(port)


def seconds(text):
    value = float(text)
    if not 0 <= value <= 60:
        raise argparse.ArgumentTypeError("must be 0 to 60")
    return value


def name(text):
    if not text or text.strip() != text:
        raise argparse.ArgumentTypeError("must be a name")
    return text


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--mode", choices=["remote", "local"], default="remote")
    p.add_argument("--listen", type=address, default="127.0.0.1:8084", help="host:port; port 0 takes a free one")
    p.add_argument("--issuer", type=url, default="http://127.0.0.1:8080", help="the iss of good tokens")
    p.add_argument("--audience", type=name, default="orders", help="the aud of good tokens: this service's name")
    p.add_argument("--introspection", type=url, help="default: /v1/introspect of the issuer")
    p.add_argument("--leeway", type=seconds, default=10, help="seconds that clocks may differ, with --mode local")
    args = p.parse_args()
    args.introspection = args.introspection or args.issuer + "/v1/introspect"
    if args.mode == "remote" and not (os.environ.get("CLIENT_ID") and os.environ.get("CLIENT_SECRET")):
        p.error("--mode remote needs CLIENT_ID and CLIENT_SECRET: see `authsvc services add`")

    http = httpx.AsyncClient(timeout=TIMEOUT)  # one for all: it keeps its connections
    verifier = {"remote": Remote, "local": Local}[args.mode](args, http)
    # By its protocol asyncio knows it for TCP, and sends small answers at once; without
    # it each request waits 40 ms for the peer's delayed acknowledgement.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(args.listen)
        listener.listen()
    except OSError as e:
        p.error("argument --listen: %s" % e)
    print("listening on http://%s:%d" % listener.getsockname()[:2], flush=True)
    config = uvicorn.Config(application(verifier, http), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
