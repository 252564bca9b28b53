"""Calls over TLS, with an authority that is made for the test: who is believed, and that nothing goes out to others."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.agents.answer import NoReply, Reply
from app.agents.http import attempt
from app.agents.request import Endpoint, Request
from app.agents.transport import Connections, _tls
from app.settings import Agent
from tests.agents.support import Received, Scripted, answer, listening, says, says_and_closes, scripted

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")

WHOLE = answer(200, b"[1]")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate of an authority, and with one that it has given to `localhost`."""
    folder = tmp_path_factory.mktemp("authority")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    ca = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    for name in ("ca", "other"):
        own = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")
        openssl(folder, "req", "-x509", *key, *own, *ca)
    openssl(folder, "req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=supplier")
    (folder / "names").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    signed = ("-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "server.pem", "-days", "2")
    openssl(folder, "x509", "-req", *signed, "-extfile", "names")
    return folder


@pytest.fixture(autouse=True)
def trusted(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The authority is trusted as an operator would have it; what other tests trust is forgotten, before and after."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    _tls.cache_clear()
    yield monkeypatch
    _tls.cache_clear()


@pytest.fixture
def tls(authority: Path) -> ssl.SSLContext:
    """What the agent shows: its certificate for `localhost`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def by_name(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


@contextlib.asynccontextmanager
async def pool_to(url: str) -> AsyncIterator[Connections]:
    pool = Connections(Endpoint(Agent("supplier", url)).origin, 10)
    try:
        yield pool
    finally:
        await pool.aclose()


async def call(
    pool: Connections, *, method: str = "POST", content: bytes = b"{}", seconds: float = 10
) -> Reply | NoReply:
    request = Request("supplier", method, "", None, "", "/x", {"Host": "localhost"}, content)
    return await attempt(pool, request, seconds)


def not_sent(came: Reply | NoReply, detail: str) -> None:
    assert isinstance(came, NoReply)
    assert not came.sent
    assert detail in came.detail


async def test_an_agent_with_a_certificate_that_we_trust_is_called_and_its_connection_used_again(
    tls: ssl.SSLContext,
) -> None:
    async def notes(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        spoken.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await says(answer(200, request.body))(agent, request, reader, writer)

    names: list[str | None] = []
    spoken: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    large = b'"' + b"x" * 60_000 + b'"'
    async with scripted(notes, tls) as agent, pool_to(by_name(agent.url)) as pool:
        assert await call(pool, content=large) == Reply(200, None, large)
        assert await call(pool) == Reply(200, None, b"{}")
    assert [request.connection for request in agent.received] == [1, 1]
    assert names == ["localhost"]
    assert spoken == ["http/1.1"] * 2


async def test_an_agent_with_a_certificate_for_another_name_hears_nothing(tls: ssl.SSLContext) -> None:
    async with scripted(says(WHOLE), tls) as agent, pool_to(agent.url) as pool:
        not_sent(await call(pool), "no connection: ")
    assert agent.received == []


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", None])
async def test_an_agent_whose_authority_we_do_not_trust_hears_nothing(
    tls: ssl.SSLContext, authority: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    if variable:
        monkeypatch.setenv(variable, str(authority / "other.pem"))
    async with scripted(says(WHOLE), tls) as agent, pool_to(by_name(agent.url)) as pool:
        not_sent(await call(pool), "certificate verify failed")
    assert agent.received == []


async def test_an_agent_that_speaks_no_tls_hears_nothing() -> None:
    async with scripted(says(WHOLE)) as agent, pool_to(by_name(agent.url).replace("http:", "https:")) as pool:
        not_sent(await call(pool, seconds=1), "no connection")
    assert agent.received == []


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 20", WHOLE[:-1]])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_connection_that_breaks_behind_the_request_has_carried_it_once(
    tls: ssl.SSLContext, method: str, said: bytes
) -> None:
    async def second_breaks(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        script = says(WHOLE) if len(agent.received) == 1 else says_and_closes(said)
        await script(agent, request, reader, writer)

    async with scripted(second_breaks, tls) as agent, pool_to(by_name(agent.url)) as pool:
        assert isinstance(await call(pool, method=method), Reply)
        came = await call(pool, method=method)
        assert isinstance(came, NoReply)
        assert came.sent
    assert [request.connection for request in agent.received] == [1, 1]


async def test_a_connection_that_the_agent_closed_while_it_idled_is_not_used(tls: ssl.SSLContext) -> None:
    async with scripted(says_and_closes(WHOLE), tls) as agent, pool_to(by_name(agent.url)) as pool:
        assert isinstance(await call(pool), Reply)
        await asyncio.wait_for(agent.closed.wait(), 10)
        assert isinstance(await call(pool), Reply)
    assert [request.connection for request in agent.received] == [1, 2]


@pytest.mark.parametrize("how", ["by the time", "by its caller"])
async def test_a_handshake_that_is_broken_off_leaves_no_connection_open(how: str) -> None:
    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await reader.readexactly(10)
        arrived.set()
        await reader.read(-1)
        closed.set()

    arrived, closed = asyncio.Event(), asyncio.Event()
    async with listening(says_nothing) as url, pool_to(url.replace("http:", "https:")) as pool:
        calling = asyncio.create_task(call(pool, seconds=0.3 if how == "by the time" else 10))
        await asyncio.wait_for(arrived.wait(), 10)
        if how == "by the time":
            not_sent(await calling, "no connection within 0.3 s")
        else:
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
        await asyncio.wait_for(closed.wait(), 10)


async def test_a_cancelled_call_closes_its_connection(tls: ssl.SSLContext) -> None:
    async def waits(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del agent, request, writer
        arrived.set()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        closed.set()

    arrived, closed = asyncio.Event(), asyncio.Event()
    async with scripted(waits, tls) as agent, pool_to(by_name(agent.url)) as pool:
        calling = asyncio.create_task(call(pool))
        await asyncio.wait_for(arrived.wait(), 10)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.wait_for(closed.wait(), 10)
