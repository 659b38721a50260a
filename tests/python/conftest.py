"""Starts the server under test.

LARDER_SERVER names its binary; without it, what cargo built in this repository, release before debug. Debian's
redis-server passes the same tests: LARDER_SERVER=/usr/bin/redis-server.
"""

import os
import random
import socket
import subprocess
import threading
from pathlib import Path

import pytest
import redis

PASSWORD = "correct horse: battery@staple/%"
HOST = "127.0.0.1"
READY = "Ready to accept connections"

OPENSSL = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Larder tests
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
"""


def binary():
    if "LARDER_SERVER" in os.environ:
        return os.environ["LARDER_SERVER"]
    target = Path(__file__).parents[2] / "target"
    for profile in ("release", "debug"):
        path = target / profile / "larder-server"
        if path.exists():
            return str(path)
    pytest.exit("no server to test: run cargo build --release, or set LARDER_SERVER", returncode=2)


def free_port():
    """A port of LARDER_TEST_PORTS. Below 32768, where Linux takes the ports of outgoing connections."""
    first, last = map(int, os.environ.get("LARDER_TEST_PORTS", "20000-29999").split("-"))
    ports = list(range(first, last + 1))
    random.shuffle(ports)
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                return port
            except OSError:
                continue
    pytest.exit(f"no free port from {first} to {last}", returncode=2)


class Server:
    """A server in its own directory, on a port that it keeps when it is started again."""

    def __init__(self, mode, directory, certificates):
        self.mode = mode
        self.port = free_port()
        self.password = None if mode == "plain" else PASSWORD
        self.ca = certificates["ca"] if mode == "tls" else None
        # An exit on SIGTERM saves when there is a save point. This one never comes while a test is running.
        self.command = [binary(), "--bind", HOST, "--dir", str(directory), "--save", "86400 1000000"]
        if mode == "tls":
            self.command += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            self.command += ["--tls-cert-file", certificates["cert"], "--tls-key-file", certificates["key"]]
            self.command += ["--tls-ca-cert-file", certificates["ca"]]
        else:
            self.command += ["--port", str(self.port)]
        if self.password:
            self.command += ["--requirepass", self.password]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = []
        for line in self.process.stdout:
            said.append(line)
            if READY in line:
                # Somebody has to go on reading, or the server would wait for room in the pipe one day.
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return
        raise RuntimeError(f"the server ended ({self.process.wait()}) before it was ready:\n{''.join(said)}")

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0

    def options(self, **more):
        tls = {"ssl": True, "ssl_ca_certs": self.ca} if self.ca else {}
        return {"host": HOST, "port": self.port, "password": self.password, "decode_responses": True, **tls, **more}

    def client(self, **more):
        return redis.Redis(**self.options(**more))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority, and a certificate for localhost that it signed."""
    directory = tmp_path_factory.mktemp("tls")
    (directory / "openssl.cnf").write_text(OPENSSL)

    def request(extensions, name, *more):
        key, cert = str(directory / f"{name}.key"), str(directory / f"{name}.crt")
        subprocess.run(
            ["openssl", "req", "-x509", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-noenc", "-config", str(directory / "openssl.cnf"), "-extensions", extensions,
             "-keyout", key, "-out", cert, *more],
            check=True, capture_output=True,
        )
        return key, cert

    ca_key, ca = request("authority", "ca")
    key, cert = request("server", "server", "-CA", ca, "-CAkey", ca_key)
    return {"ca": ca, "cert": cert, "key": key}


@pytest.fixture(scope="session", params=["plain", "password", "tls"])
def server(request, tmp_path_factory, certificates):
    """One server of each kind; `tls` asks for the password too."""
    server = Server(request.param, tmp_path_factory.mktemp("data"), certificates)
    server.start()
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request):
    return request.param


@pytest.fixture
def connect(server, protocol):
    """Makes clients, and closes them."""
    clients = []

    def make(**more):
        client = server.client(protocol=protocol, **more)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(connect):
    client = connect()
    client.flushall()
    return client
