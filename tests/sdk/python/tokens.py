"""Tokens (JWT, HS256) as a site would make them."""

import base64
import hashlib
import hmac
import json
import time

from server import TOKEN_SECRET, key_of

WRONG_SECRET = "whsec_" + base64.b64encode(b"x" * 32).decode()


def token(life=3_600, secret=TOKEN_SECRET, **claims):
    """`iat` is now where it isn't given; `life`, in seconds, is added to it for `exp`."""
    claims.setdefault("iat", int(time.time()))
    claims.setdefault("exp", claims["iat"] + life)
    header = {"alg": "HS256", "kid": "sdk", "typ": "JWT"}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    tag = hmac.digest(key_of(secret), signed.encode(), hashlib.sha256)
    return f"{signed}.{_encoded(tag)}"


def expired_token(**claims):
    """One whose time is over."""
    return token(life=50, iat=int(time.time()) - 100, **claims)


def _encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
