"""Servers on loopback that speak the routes of the Hugging Face hub, of CivitAI, and of anybody with a file to give.

    with ModelSite() as site, ModelSite() as cdn:
        site.add_hub_repo("org/name", {"model_index.json": b"{}", "unet/x.safetensors": data}, cdn=cdn)
        site.fail("/org/name/resolve/", Cut(after=1000), Status(429, {"Retry-After": "7"}))

What is asked is kept in `asked`; what goes wrong is said with `fail`, once for each request to a path that begins so.
"""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

COMMIT = "a" * 40
_LFS = (".safetensors", ".bin", ".ckpt")


@dataclass(frozen=True)
class Cut:
    """The connection breaks after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Status:
    """An answer that is none."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Hold:
    """After so many bytes nothing more comes until `release` is set; `reached` is set by then."""

    after: int
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


Fault = Cut | Status | Hold


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str]
    """By lower-case name."""

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(kw_only=True)
class Resource:
    """What is at a path."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    redirect: str | None = None
    ranges: bool = True


class ModelSite:
    """One origin."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.resources: dict[str, Resource] = {}
        self.protected: dict[str, str] = {}
        """Tokens by how the paths begin that want them."""
        self._faults: list[tuple[str, Fault]] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "ModelSite":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_file(self, path: str, body: bytes, *, etag: str | None = None, ranges: bool = True, **headers: str) -> str:
        """A file, and its address. Headers are written with `_` for `-`."""
        tag = etag or f'"{hashlib.sha256(body).hexdigest()}"'
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.resources[path] = Resource(body=body, headers={"ETag": tag, **named}, ranges=ranges)
        return f"{self.url}{quote(path)}"

    def add_json(self, path: str, value: Any) -> None:
        body = json.dumps(value).encode()
        self.resources[path] = Resource(body=body, headers={"Content-Type": "application/json"}, ranges=False)

    def add_redirect(self, path: str, target: str) -> None:
        self.resources[path] = Resource(redirect=target)

    def add_hub_repo(
        self,
        repo: str,
        files: Mapping[str, bytes],
        *,
        cdn: "ModelSite | None" = None,
        commit: str = COMMIT,
        gated: str | bool = False,
        card: Mapping[str, Any] | None = None,
        declared: Mapping[str, str] | None = None,
    ) -> None:
        """A repository as the hub shows it: large files by their sha256 and, with `cdn`, at another host.

        Args:
            declared: sha256 of large files, where it is not theirs.
        """
        siblings: list[dict[str, Any]] = []
        for path, body in files.items():
            sibling: dict[str, Any] = {"rfilename": path, "size": len(body), "blobId": _git_sha1(body)}
            if path.endswith(_LFS):
                sha256 = (declared or {}).get(path) or hashlib.sha256(body).hexdigest()
                sibling["lfs"] = {"size": len(body), "sha256": sha256, "pointerSize": 134}
            siblings.append(sibling)
            place = f"/{repo}/resolve/{commit}/{path}"
            if cdn is not None and path.endswith(_LFS):
                self.add_redirect(place, cdn.add_file(f"/cdn/{repo}/{commit}/{path}", body))
            else:
                self.add_file(place, body)
        info = {
            "id": repo,
            "modelId": repo,
            "sha": commit,
            "private": False,
            "gated": gated,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
            "cardData": dict(card or {}),
        }
        for revision in ("", "/revision/main", f"/revision/{commit}"):
            self.add_json(f"/api/models/{repo}{revision}", info)

    def add_civitai_model(
        self,
        model_id: int,
        version_id: int,
        name: str,
        body: bytes,
        *,
        cdn: "ModelSite | None" = None,
        sha256: str | None = None,
        **fields: Any,
    ) -> None:
        """A model of one version with one file; `fields` are further ones of the version."""
        place = f"/api/download/models/{version_id}"
        version = {
            "id": version_id,
            "modelId": model_id,
            "name": "v1",
            "baseModel": "SDXL 1.0",
            "trainedWords": ["ohwx", "a painting"],
            "files": [
                {
                    "name": name,
                    "type": "Model",
                    "primary": True,
                    "sizeKB": round(len(body) / 1024, 2),
                    "hashes": {"SHA256": (sha256 or hashlib.sha256(body).hexdigest()).upper()},
                    "pickleScanResult": "Success",
                    "virusScanResult": "Success",
                    "downloadUrl": f"{self.url}{place}",
                }
            ],
            **fields,
        }
        model = {
            "id": model_id,
            "name": "Ohwx",
            "type": "LORA",
            "allowNoCredit": False,
            "allowCommercialUse": ["Image"],
            "allowDerivatives": True,
            "allowDifferentLicense": False,
            "modelVersions": [version],
        }
        self.add_json(f"/api/v1/models/{model_id}", model)
        self.add_json(f"/api/v1/model-versions/{version_id}", version)
        if cdn is not None:
            self.add_redirect(place, cdn.add_file(f"/storage/{version_id}", body))
        else:
            self.add_file(place, body)

    def fail(self, path: str, *faults: Fault) -> None:
        """What happens to the next requests to a path that begins so, in order."""
        with self._lock:
            self._faults += [(path, fault) for fault in faults]

    def fault(self, path: str) -> Fault | None:
        with self._lock:
            found = next(
                ((index, fault) for index, (begin, fault) in enumerate(self._faults) if path.startswith(begin)), None
            )
            if found is not None:
                del self._faults[found[0]]
            return found[1] if found is not None else None

    def asked_for(self, begin: str) -> list[Asked]:
        """Requests to paths that begin so."""
        return [one for one in self.asked if one.path.startswith(begin)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone, as some of the tests want it."""


def _git_sha1(body: bytes) -> str:
    return hashlib.sha1(f"blob {len(body)}\0".encode() + body, usedforsecurity=False).hexdigest()


def _handler(site: ModelSite) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            site.asked.append(Asked(path=path, headers=headers))
            fault = site.fault(path)
            if isinstance(fault, Status):
                return self.answer(fault.code, fault.headers, b"")
            wanted = next((token for begin, token in site.protected.items() if path.startswith(begin)), None)
            if wanted is not None and headers.get("authorization") != f"Bearer {wanted}":
                return self.answer(401, {"X-Error-Code": "GatedRepo"}, b"")
            resource = site.resources.get(path)
            if resource is None:
                missing = {"X-Error-Code": "RepoNotFound"} if path.startswith("/api/models/") else {}
                return self.answer(404, missing, b"")
            if resource.redirect is not None:
                return self.answer(302, {"Location": resource.redirect}, b"")
            return self.serve(resource, headers, fault)

        def serve(self, resource: Resource, headers: Mapping[str, str], fault: Cut | Hold | None) -> None:
            body, total = resource.body, len(resource.body)
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
            same = headers.get("if-range", resource.headers.get("ETag")) == resource.headers.get("ETag")
            if match is None or not resource.ranges or not same:
                return self.answer(200, resource.headers, body, fault)
            begin, end = int(match[1]), min(int(match[2]) if match[2] else total - 1, total - 1)
            if begin >= total:
                return self.answer(416, {"Content-Range": f"bytes */{total}"}, b"")
            described = {**resource.headers, "Content-Range": f"bytes {begin}-{end}/{total}"}
            return self.answer(206, described, body[begin : end + 1], fault)

        def answer(self, code: int, headers: Mapping[str, str], body: bytes, fault: Cut | Hold | None = None) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                if fault is None:
                    self.wfile.write(body)
                    return
                self.wfile.write(body[: fault.after])
                self.wfile.flush()
                if isinstance(fault, Hold):
                    fault.reached.set()
                    fault.release.wait(60)
                    self.wfile.write(body[fault.after :])
                else:
                    self.close_connection = True
            except OSError:  # whoever asked has gone
                self.close_connection = True

    return Handler
