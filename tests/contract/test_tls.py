"""The web server speaks https by itself: certificates with either kind of key, TLS 1.2 and 1.3, nothing older."""

import http.client
import json
import os
import ssl
import subprocess

import pytest
from kit.stack import Stack

KEYS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}


def make_certificate(folder, kind):
    """A certificate for 127.0.0.1 that is its own authority, readable for the server's account."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / f"{kind}.pem", folder / f"{kind}.key"
    subprocess.run(["openssl", "req", "-x509", *KEYS[kind], "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                    "-subj", "/CN=windlass", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    key.chmod(0o644)
    return certificate, key


@pytest.fixture(scope="module", params=sorted(KEYS))
def secure(request, tmp_path_factory):
    # the server has an account of its own: let it walk to the files
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"), request.param)
    for folder in [certificate.parent, *certificate.parent.parents][:-1]:
        if not os.stat(folder).st_mode & 0o001 and os.stat(folder).st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)
    with Stack(f"tls-{request.param}", env={"WINDLASS_TLS_CERTIFICATE": str(certificate), "WINDLASS_TLS_KEY": str(key)}) as stack:
        yield stack.urls["web"], certificate


def connect(secure, **limits):
    url, certificate = secure
    context = ssl.create_default_context(cafile=certificate)
    for name, value in limits.items():
        setattr(context, name, value)
    return http.client.HTTPSConnection(*url.removeprefix("https://").split(":"), timeout=20, context=context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_requests_are_answered(secure, version):
    client = connect(secure, minimum_version=version, maximum_version=version)
    for _ in range(3):      # on one connection
        client.request("GET", "/readyz")
        answer = client.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
    assert client.sock.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


def test_bodies_and_large_answers_pass(secure):
    client = connect(secure)
    body = {"email": "a@example.com", "password": "long enough 1", "tenant_name": "T", "tenant_slug": "x" * 64}
    client.request("POST", "/api/v1/auth/register", json.dumps(body), {"Content-Type": "application/json"})
    answer = client.getresponse()
    assert answer.status == 400 and "tenant_slug" in answer.read().decode()
    client.request("GET", "/api/v1/openapi.json")
    answer = client.getresponse()
    assert answer.status == 200 and len(answer.read()) > 20000


def test_old_versions_are_refused(secure):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(secure, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1).request("GET", "/readyz")


def test_plain_http_gets_nothing(secure):
    host, port = secure[0].removeprefix("https://").split(":")
    client = http.client.HTTPConnection(host, port, timeout=20)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        client.request("GET", "/readyz")
        client.getresponse()
