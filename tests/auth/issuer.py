"""An issuer of tokens, for tests: it has keys, signs, and serves its keys over https."""

import datetime
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.certificates import Authority

NAME, AUDIENCE = "https://issuer.example", "memsvc"


class Issuer:
    """Signs tokens with keys of several kinds, each called as its algorithm.

    Attributes:
        document: what it publishes.
    """

    def __init__(self) -> None:
        self.private: dict[str, Any] = {}
        self.document: dict[str, Any] = {"keys": []}
        self.add("RS256", rsa.generate_private_key(65537, 2048))
        self.add("ES256", ec.generate_private_key(ec.SECP256R1()))
        self.add("EdDSA", ed25519.Ed25519PrivateKey.generate())

    def add(self, id: str, key: Any, *, private: bool = False, **facts: Any) -> None:
        """Make another key known, with its private half too if an issuer is as careless as that."""
        kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
        kind = next((each for type_, each in kinds.items() if isinstance(key, type_)), OKPAlgorithm)
        self.private[id] = key
        public = kind.to_jwk(key if private else key.public_key(), as_dict=True)
        public.pop("key_ops", None)
        self.document["keys"].append({**public, "kid": id, **facts})

    def token(self, id: str = "RS256", *, algorithm: str | None = None, headers: Any = None, **claims: Any) -> str:
        """Sign; a claim that is None is left out."""
        now = datetime.datetime.now(datetime.UTC).timestamp()
        base = {"iss": NAME, "aud": AUDIENCE, "sub": "ada", "exp": int(now) + 600, "iat": int(now)}
        given = {name: value for name, value in {**base, **claims}.items() if value is not None}
        kept = {"kid": id, **(headers or {})}
        kept = {name: value for name, value in kept.items() if value is not None}
        return jwt.encode(given, self.private[id], algorithm or id, headers=kept)

    def write(self, path: Path) -> Path:
        """Publish in a file."""
        path.write_text(json.dumps(self.document))
        return path


class HttpsServer:
    """Serves one document over https on the loopback device, with a certificate that it makes.

    Attributes:
        answer: status, headers and body of the next answers.
        asked: how often it was asked.
    """

    def __init__(self, directory: Path) -> None:
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
        self.asked = 0
        self.over = threading.Event()
        """Ends an answer that was begun with a header `Hang`."""
        authority = Authority(directory)
        self.ca_file, pair = authority.ca, authority.issue("issuer")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                status, headers, body = outer.answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                if "Hang" in headers:
                    outer.over.wait(30)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}/keys"

    def __enter__(self) -> "HttpsServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
